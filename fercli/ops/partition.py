"""Sharing out rows to sides (training and test, or folds) by whole groups, each class in proportion. Pure functions."""

from collections.abc import Sequence

import numpy as np

#: Differences of need below this are rounding: such sides need a group equally.
_ROUNDING = 1e-9


def codes(values: np.ndarray) -> np.ndarray:
    """Whole numbers (N,) int64 that are equal where `values` are: (N,) str, of which "" is -1, or (N, D) uint8."""
    if values.ndim == 2:
        return np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)
    numbers = np.unique(values, return_inverse=True)[1].reshape(-1)
    return np.where(values == "", -1, numbers)


def sequences(sequence: np.ndarray, subject: np.ndarray | None) -> np.ndarray:
    """Whole numbers (N,) int64, equal for the frames of one sequence of one subject, both (N,) str; -1 for none ("").

    The first clips of two people may both be called 001.
    """
    clip = codes(sequence)
    if subject is None:
        return clip
    person = codes(subject) + 1
    return np.where(clip < 0, -1, person * (clip.max(initial=-1) + 1) + clip)


def strata_of(label: np.ndarray, classes: int) -> np.ndarray:
    """The class (N,) int64 of each row by its label (N,); unlabelled rows (-1) are a class of their own."""
    return np.where(label < 0, classes, label.astype(np.int64))


def connected(keys: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """Group (N,) int64, from 0, of each row: rows that share a value of any key are of one group, and so are rows that
    a chain of such rows joins. A key is (N,) whole numbers, of which -1 is shared with nobody.

    Union-find with path halving: Tarjan & van Leeuwen 1984, J. ACM 31(2), 245-281.
    """
    parent = list(range(rows))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for key in keys:
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        joined = np.flatnonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0))
        for one, other in zip(order[joined].tolist(), order[joined + 1].tolist(), strict=True):
            parent[root(other)] = root(one)
    return np.unique([root(row) for row in range(rows)], return_inverse=True)[1].reshape(-1)


def assign(groups: np.ndarray, strata: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """Side (N,) int64 of each row, 0..S-1 for S `shares` that sum to 1: whole groups, each stratum in proportion.

    `groups` (N,) from 0 as `connected` gives, `strata` (N,) 0..K-1, in practice the class. Groups are taken largest
    first, those of a size in an order drawn from `seed`; each goes to the side where it lowers the chi-square distance
    sum over strata of (target - rows)^2 / target the most, the most rows to go deciding between equals. For groups of
    one row this is Sainte-Lague's method of apportionment. For equal shares no side stays empty while there are groups;
    with unequal shares and few large groups one may.
    """
    counts = _counts(groups, strata)
    sizes = counts.sum(axis=1)
    drawn = np.random.Generator(np.random.PCG64([seed])).permutation(len(counts))
    drawn = drawn[np.argsort(-sizes[drawn], kind="stable")]
    side = np.empty(len(counts), np.int64)
    target = np.outer(shares, counts.sum(axis=0))
    missing = target.copy()
    for group in drawn[sizes[drawn] > 1]:
        side[group] = _neediest(counts[group], missing, target)
        missing[side[group]] -= counts[group]
    single = drawn[sizes[drawn] == 1]
    for stratum in range(counts.shape[1]):
        these = single[counts[single, stratum] == 1]
        given = _apportion(len(these), missing[:, stratum], target[:, stratum], missing.sum(axis=1))
        side[these] = np.repeat(np.arange(len(given)), given)
        missing[:, stratum] -= given
    return side[groups]


def _counts(groups: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Rows of each stratum in each group, (G, K) int64."""
    shape = int(groups.max(initial=-1)) + 1, int(strata.max(initial=-1)) + 1
    return np.bincount(groups * shape[1] + strata, minlength=shape[0] * shape[1]).reshape(shape)


def _neediest(rows: np.ndarray, missing: np.ndarray, target: np.ndarray) -> int:
    """The side that a group of `rows` (K,) goes to, given the rows `missing` from `target`, both (S, K)."""
    there = target > 0
    gain = np.divide(rows * (2 * missing - rows), target, out=np.zeros_like(target), where=there).sum(axis=1)
    gain[~there.any(axis=1)] = -np.inf
    equal = gain >= gain.max() - _ROUNDING
    return int(np.where(equal, missing.sum(axis=1), -np.inf).argmax())


def _apportion(count: int, missing: np.ndarray, target: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How many of `count` single rows of a stratum each side gets, (S,): what `_neediest` would give one by one.

    A side's k-th row is worth (2 (missing - k) - 1) / target, so the `count` worthiest places of all sides are filled.
    """
    places = np.where(target > 0, np.ceil(np.maximum(missing, 0)) + 1, 0).astype(np.int64)
    side = np.repeat(np.arange(len(places)), places)
    k = np.arange(len(side)) - np.repeat(np.cumsum(places) - places, places)
    worth = (2 * (missing[side] - k) - 1) / target[side]
    filled = np.lexsort((side, -rows[side], -worth))[:count]
    return np.bincount(side[filled], minlength=len(places))
