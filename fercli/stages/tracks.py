"""What is made of the answers of a track: they are averaged over time, and summed up at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..store import Block
from ..store.schema import HEAD_PREFIX, HEAD_PROBABILITY_PREFIX
from ..text import counted
from .runner import Log

_TOLD = 20


class Smoothing:
    """Averages the probabilities of each track, those of `seconds` ago with a weight of 1/e; 0 leaves them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: dict[tuple[str, int, str], tuple[float, np.ndarray]] = {}  # of a track and column: time and average

    def __call__(self, block: Block) -> Block:
        """The block with all probabilities and answers averaged; blocks come in the order of time."""
        if not self._seconds:
            return block
        heads = [name.removeprefix(HEAD_PREFIX) for name in block if name.startswith(HEAD_PREFIX)]
        pairs = {"probability": "predicted"} | {HEAD_PROBABILITY_PREFIX + name: HEAD_PREFIX + name for name in heads}
        averaged = {}
        for chances, answer in pairs.items():
            averaged[chances], averaged[answer] = self._averaged(block, chances, answer)
        return {**block, **averaged}

    def _averaged(self, block: Block, chances: str, answer: str) -> tuple[np.ndarray, np.ndarray]:
        """The columns of probabilities (N, K) and of answers (N,)."""
        probability, predicted = block[chances].copy(), block[answer].copy()
        for row in np.flatnonzero((block["track"] > 0) & (predicted >= 0)):
            track, time = (block["source"][row], int(block["track"][row]), chances), float(block["time"][row])
            if track in self._last:
                then, average = self._last[track]
                share = 1 - np.exp((then - time) / self._seconds)
                probability[row] = average + share * (probability[row] - average)
                predicted[row] = probability[row].argmax()
            self._last[track] = time, probability[row]
        return probability, predicted


@dataclass
class _Sum:
    first: float
    last: float = 0.0
    frames: int = 0
    probability: np.ndarray | float = 0.0  # (K,) sum over the frames


@dataclass
class Tracks:
    """Sums up the tracks of one clip."""

    source: str
    classes: Sequence[str]
    _sums: dict[int, _Sum] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        """Takes the next block of predictions."""
        for row in np.flatnonzero((block["track"] > 0) & (block["predicted"] >= 0)):
            time = float(block["time"][row])
            one = self._sums.setdefault(int(block["track"][row]), _Sum(time))
            one.last, one.frames = time, one.frames + 1
            one.probability = one.probability + block["probability"][row].astype(np.float64)

    def facts(self) -> list[dict[str, Any]]:
        """One dict a track: when it was there, and the mean of its probabilities, of which `label` has the highest."""
        return [self._fact(number, self._sums[number]) for number in sorted(self._sums)]

    def tell(self, log: Log) -> None:
        """Notes each track, and adds all to the machine summary."""
        facts = self.facts()
        log.facts.setdefault("tracks", []).extend(facts)
        for fact in facts[:_TOLD]:
            log.note(
                f"{self.source}: track {fact['track']}: {counted(fact['frames'], 'frame')} from {fact['first']:.1f} to "
                f"{fact['last']:.1f} s, {fact['label']} {fact['confidence']:.0%}"
            )
        if len(facts) > _TOLD:
            log.note(f"{self.source}: {len(facts) - _TOLD:,} more tracks; --json tells of all")

    def _fact(self, number: int, one: _Sum) -> dict[str, Any]:
        mean = [round(float(value), 6) for value in one.probability / one.frames]
        best = int(np.argmax(mean))
        return {
            "source": self.source, "track": number, "frames": one.frames, "first": round(one.first, 3),
            "last": round(one.last, 3), "label": self.classes[best], "confidence": mean[best],
            "probabilities": dict(zip(self.classes, mean, strict=True)),
        }  # fmt: skip
