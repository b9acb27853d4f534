"""FER+ (Barsoum et al. 2016): ten annotators' votes for each row of FER2013, in the row order of its original csv.

The file's image names cannot join the two: they are blank for 173 rows, and four names stand at two rows each. Row
order can, and is checked: as many rows, the same usage in each, and names that count up.
"""

import re
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..labels import EMOTIONS_CONTEMPT, FERPLUS_COLUMNS, canonical
from ..store import SPLIT_CODES, Block
from .base import Report
from .files import naming, read_regular

#: What the organisers of FER2013 call its three parts. PublicTest was the validation set of the contest.
USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

_HEADER = ("Usage", "Image name", *FERPLUS_COLUMNS, "unknown", "NF")
_EMOTIONS = len(FERPLUS_COLUMNS)


@dataclass
class Votes:
    """The votes of N rows, and counts of what joining them did."""

    path: str
    split: np.ndarray  # (N,) int8
    counts: np.ndarray  # (N, 10) int64: EMOTIONS_CONTEMPT, then unknown and no face
    rows: int = 0
    ties: int = 0
    unlabelled: int = 0

    def joined(self, block: Block, rows: np.ndarray) -> Block:
        """The block of csv rows `rows` (from 1) with votes, and the labels that they give; DataError: another order."""
        if rows[-1] > len(self.split):
            raise DataError(f"{self.path} has {len(self.split):,} rows, but the csv has more; {_ORDER}")
        differing = np.flatnonzero(self.split[rows - 1] != block["split"])
        if len(differing):
            raise DataError(f"row {rows[differing[0]]} has another usage in {self.path} than in the csv; {_ORDER}")
        counts = self.counts[rows - 1]
        label, tied = majority(counts, block["label"])
        self.ties += int(tied.sum())
        self.unlabelled += int((label < 0).sum())
        return {**block, "label": label, "votes": shares(counts[:, :_EMOTIONS])}

    def finish(self, rows: int, report: Report) -> None:
        """Checks that the csv had as many rows, and tells the counts."""
        if rows != len(self.split):
            raise DataError(f"{self.path} has {len(self.split):,} rows, but the csv has {rows:,}; {_ORDER}")
        report.note(
            f"FER+: {self.ties:,} tied rows keep FER2013's label; {self.unlabelled:,} are unlabelled "
            "(unknown, no face, or a tie without that label)"
        )


_ORDER = "--ferplus takes fer2013new.csv and the original csv, whole and in the original order"


def majority(counts: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label (N,) int16 of counts (N, 10), and whether `own` (N,) broke a tie.

    The column with the most votes; -1 if that is no emotion, or if there is no vote. A tie goes to `own` if that is one
    of the tied, else it is -1.
    """
    most = counts.max(axis=1, keepdims=True)
    top = (counts == most) & (most > 0)
    label = np.where(top.sum(axis=1) == 1, top.argmax(axis=1), -1)
    label[label >= _EMOTIONS] = -1
    tied = (top.sum(axis=1) > 1) & top[np.arange(len(own)), own]
    return np.where(tied, own, label).astype(np.int16), tied


def shares(counts: np.ndarray) -> np.ndarray:
    """Votes as shares that add up to 1, (N, K) float32; zeros for a row without any."""
    total = counts.sum(axis=1, keepdims=True)
    return (counts / np.maximum(total, 1)).astype(np.float32)


def read_votes(path: str) -> Votes:
    """The votes file; DataError names the row that is wrong."""
    with naming(path):
        lines = read_regular(path).decode("utf-8-sig", "replace").split("\n")
    fields = [line.strip().split(",") for line in lines if line.strip()]
    if not fields or [name.strip().lower() for name in fields[0]] != [name.lower() for name in _HEADER]:
        raise DataError(f"{path} is no FER+ votes file: its first line must be {','.join(_HEADER)}")
    rows = [_row(path, row, parts) for row, parts in enumerate(fields[1:], start=1)]
    _check_names(path, [parts[1].strip() for parts in fields[1:]])
    counts = np.array([votes for _, votes in rows], np.int64).reshape(-1, _EMOTIONS + 2)
    order = [FERPLUS_COLUMNS.index(name) for name in sorted(FERPLUS_COLUMNS, key=_class_index)]
    return Votes(path, np.array([split for split, _ in rows], np.int8), counts[:, [*order, _EMOTIONS, _EMOTIONS + 1]])


def _class_index(name: str) -> int:
    return EMOTIONS_CONTEMPT.index(canonical(name))


def _row(path: str, row: int, parts: list[str]) -> tuple[int, list[int]]:
    if len(parts) != len(_HEADER):
        raise DataError(f"{path}: row {row} has {len(parts)} fields, but the header has {len(_HEADER)}")
    if parts[0] not in USAGES:
        raise DataError(f"{path}: the usage of row {row} is {parts[0]!r}, not one of {', '.join(USAGES)}")
    if not all(part.isdecimal() for part in parts[2:]):
        raise DataError(f"{path}: row {row} holds votes that are no whole numbers: {','.join(parts[2:])}")
    return SPLIT_CODES[USAGES[parts[0]]], [int(part) for part in parts[2:]]


def _check_names(path: str, names: list[str]) -> None:
    """Names that are there once must count up; the published file repeats four."""
    found = [(row, re.fullmatch(r"fer(\d+)\.png", name)) for row, name in enumerate(names, start=1) if name]
    numbers = np.array([int(match[1]) if match else -1 for _, match in found], np.int64)
    values, count = np.unique(numbers, return_counts=True)
    single = np.isin(numbers, values[count == 1])
    rows = np.array([row for row, _ in found], np.int64)[single]
    fallen = np.flatnonzero(np.diff(numbers[single], prepend=-1) <= 0)
    if len(fallen):
        raise DataError(f"{path}: the image name of row {rows[fallen[0]]} does not count up; {_ORDER}")
