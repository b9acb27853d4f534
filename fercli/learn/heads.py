"""Heads beside the expression's: what else one network answers of a face, such as the perceived gender.

The logits of all heads stand side by side, those of the expression first; so do the labels, of which -1 is unknown.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import DataError, UsageError
from ..labels import ATTRIBUTES
from ..spec import nearest
from ..store import Reader
from ..store.schema import ATTRIBUTE_PREFIX
from . import ranks

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class Head:
    """A further head: the attribute that it answers, and the names of that one's codes 0, 1, and so on."""

    name: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"{self.name!r} cannot name a head: letters, digits, - and _ can")


def widths(classes: Sequence[str], heads: Sequence[Head]) -> tuple[int, ...]:
    """How many logits each head has, the expression's first; () where that is alone."""
    return (len(classes), *(len(head.classes) for head in heads)) if heads else ()


def as_arguments(heads: Sequence[Head]) -> dict[str, dict[str, int]]:
    """What `models.build` takes to build them; nothing where there are none."""
    return {"heads": {head.name: len(head.classes) for head in heads}} if heads else {}


def read_heads(src: Reader, names: Sequence[str]) -> tuple[tuple[Head, ...], np.ndarray]:
    """The heads for attributes of a store, and the codes of its rows in these, (N, H) int64, -1 unknown.

    Classes whose codes have no names are called by the codes that the store shows. Raises UsageError for an attribute
    that is named twice or cannot name a head, DataError for one that the store lacks or whose codes mean nothing.
    """
    for name in names:
        Head(name, ())  # raises for what cannot name one
        if names.count(name) > 1:
            raise UsageError(f"--heads {name} is given twice: name it once")
    heads = tuple(Head(name, _classes(src, name)) for name in names)
    columns = [src.column(ATTRIBUTE_PREFIX + name).astype(np.int64) for name in names]
    return heads, np.stack(columns, axis=1) if columns else np.empty((src.rows, 0), np.int64)


def _classes(src: Reader, name: str) -> tuple[str, ...]:
    known = [column.removeprefix(ATTRIBUTE_PREFIX) for column in src.columns if column.startswith(ATTRIBUTE_PREFIX)]
    if name not in known:
        has = nearest(name, known) if known else f"ingest a data set that tells it with fer ingest --attribute {name}"
        raise DataError(f"{src.name} has no attribute {name!r} to learn; {has}")
    codes = src.column(ATTRIBUTE_PREFIX + name)
    classes = ATTRIBUTES.get(name) or tuple(map(str, range(int(codes.max(initial=-1)) + 1)))
    wrong = np.flatnonzero((codes < -1) | (codes >= len(classes)))
    if len(wrong):
        told = ", ".join(f"{code} {one}" for code, one in enumerate(ATTRIBUTES.get(name, ("and so on",))))
        raise DataError(f"{src.name} has the {name} {codes[wrong[0]]} in row {wrong[0]}: it is -1 unknown, {told}")
    return classes


def check_values(heads: Sequence[Head], values: np.ndarray, name: str) -> None:
    """Raises DataError unless the training rows' values (N, H) show two classes of each head; `name` is the store's."""
    for head, codes in zip(heads, values.T, strict=True):
        shown = np.unique(codes[codes >= 0])
        if len(shown) < 2:
            told = f"only {head.classes[shown[0]]!r}" if len(shown) else "nothing"
            raise DataError(
                f"{name} tells {told} as the {head.name} of its training rows: leave --heads {head.name} out"
            )


def truth(labels: Tensor) -> Tensor:
    """(B,) int64, the expressions that labels (B,), float shares (B, K) or labels of several heads (B, H) tell."""
    if labels.is_floating_point():
        return labels.argmax(1)
    return labels if labels.ndim == 1 else labels[:, 0]


def parts(answers: np.ndarray, widths: Sequence[int]) -> list[np.ndarray]:
    """Answers (N, W) of heads side by side as one array a head, the expression's first; no `widths`: it is alone."""
    return np.split(answers, np.cumsum(widths, dtype=np.int64)[:-1], axis=1)


class HeadsLoss(nn.Module):
    """The sum over the heads of their mean cross-entropies (nats).

    A row whose label is -1 does not count for that head. Of several processes each gives its part of the batch's loss.
    widths: classes of each head; weights: one number a class of each head, or None.
    """

    def __init__(self, widths: Sequence[int], weights: Sequence[Tensor | None], smoothing: float) -> None:
        super().__init__()
        self._widths, self._smoothing = list(widths), smoothing
        for place, weight in enumerate(weights):
            self.register_buffer(f"weight{place}", weight)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits (B, sum of the widths) and labels (B, heads) int64."""
        losses = [
            self._loss(part, labels[:, place], getattr(self, f"weight{place}"))
            for place, part in enumerate(logits.split(self._widths, dim=1))
        ]
        return torch.stack(losses).sum()

    def _loss(self, logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
        losses = functional.cross_entropy(
            logits.float(), labels, weight, ignore_index=-1, reduction="none", label_smoothing=self._smoothing
        )
        known = (labels >= 0).float()
        counts = known if weight is None else known * weight[labels.clamp(min=0)]
        # torch's own mean is no number where no row counts
        return losses.sum() / ranks.total(counts.sum()).clamp(min=1e-6)
