"""Small stores for the tests of stages, and how such a test runs one."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fercli.spec import Spec
from fercli.stages.predict import Predictor, PredictSpec
from fercli.stages.runner import Log, Silent, Stage, run_on_stores
from fercli.store import create_store, objects, open_store


class Notes(Silent):
    """An Interface that remembers what the stage noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Disturb(Notes):
    """An Interface that writes `path` again whenever rows are done."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def advance(self, rows: int) -> None:
        write_again(self.path)


def write_again(path: Path) -> None:
    """Writes a file's first byte again, where it lies, a second after its last change."""
    changed = path.stat().st_mtime_ns + 10**9
    with open(path, "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(first)
    os.utime(path, ns=(changed, changed))


class Killed(Exception):
    """Stands for whatever ends a run at once."""


class KillAt(Notes):
    """An Interface that ends the run at its `step`-th batch, or at the `step`-th note that begins with `text`."""

    def __init__(self, step: int, text: str = "") -> None:
        super().__init__()
        self.left, self.text = step, text

    def advance(self, rows: int) -> None:
        if not self.text:
            self._count()

    def note(self, text: str) -> None:
        super().note(text)
        if self.text and text.startswith(self.text):
            self._count()

    def _count(self) -> None:
        self.left -= 1
        if not self.left:
            raise Killed


def write_samples(
    path: Path,
    photos: np.ndarray | Sequence[bytes],
    channels: Sequence[str] = ("gray",),
    documents: dict[str, Any] | None = None,
    **columns: np.ndarray,
) -> Path:
    """A store of dense images (N, H, W[, C]) or of encoded photos, with labels, sources, subjects and digests."""
    count = len(photos)
    block: dict[str, np.ndarray] = {
        "label": (np.arange(count) % 2).astype(np.int16),
        "source": objects(f"photo {row}" for row in range(count)),
        "subject": objects(f"person {row // 3}" for row in range(count)),
        **columns,
    }
    if isinstance(photos, np.ndarray):
        block["image"] = photos
        block["digest"] = np.arange(count * 16).reshape(count, 16).astype(np.uint8)
    else:
        block |= {"encoded": objects(photos), "height": np.ones(count, np.int32), "width": np.ones(count, np.int32)}
        channels = ()
    with create_store(path) as writer:
        writer.start("samples", ("angry", "happy"), channels)
        writer.append(block)
        for name, value in (documents or {}).items():
            writer.document(name, value)
        writer.document("provenance", [])
    return path


def run_stage(
    stage: Callable[..., None], source: Path, target: Path, spec: Spec, on_error: str = "fail"
) -> tuple[list[str], list[tuple[str, str]]]:
    """Runs a stage from store to store; returns its notes and the rows that failed."""
    heard = Notes()
    outcome = run_on_stores(Stage("tested", stage), [str(source)], str(target), spec, Log(on_error, heard), force=True)
    return heard.notes, outcome.failures


def asked(model: Path, source: Path, **settings: Any) -> np.ndarray:
    """(N, K) probabilities of the rows of a store; on the CPU and in float32, unless `settings` of predict differ."""
    predictor = Predictor.load(model, PredictSpec(**{"device": "cpu", "precision": "float32", **settings}))
    with open_store(source) as src:
        return np.concatenate([block["probability"] for block in predictor.over_store(src, Log())])
