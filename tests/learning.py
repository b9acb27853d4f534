"""A small task for the tests of training: where the bright band lies tells the class."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from fercli.stages.train import TrainSpec
from fercli.store import create_store

CLASSES = ("angry", "happy", "sad")
SIDE = 24  # px
#: A network that learns it in a tenth of the time that others take.
SMALL = {"model": "alizadeh", "layers": "conv8x3-bn-relu-pool fc32-relu-drop"}


def changed(spec: TrainSpec, **settings: Any) -> TrainSpec:
    """The settings with others. Those of another model do not have the layers of this one."""
    return dataclasses.replace(spec, **({"layers": None} if "model" in settings else {}) | settings)


def assert_near(found: np.ndarray, expected: np.ndarray, rel: float, within: float, what: str = "") -> None:
    """As `found == pytest.approx(expected, rel=rel, abs=within)`, which takes seconds for the weights of a network."""
    assert np.shape(found) == np.shape(expected), what
    expected = np.asarray(expected, np.float64)
    near = np.abs(found - expected) <= np.maximum(within, rel * np.abs(expected))
    assert near.all(), f"{what}: {near.size - np.count_nonzero(near)} of {near.size} numbers are not near"


def bands(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 24, 24) uint8 of noise with a brighter band, and labels (N,) int16 that tell its place."""
    rng = np.random.Generator(np.random.PCG64([seed]))
    labels = np.arange(rows, dtype=np.int16) % len(CLASSES)
    images = rng.integers(0, 100, (rows, SIDE, SIDE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[8 * label : 8 * label + 8] += 60
    return images, labels


def write_bands(
    path: Path,
    train: int = 96,
    val: int = 30,
    documents: dict[str, Any] | None = None,
    channels: tuple[str, ...] = ("gray",),
    **columns: Any,
) -> Path:
    """A store of `train` training rows and `val` val rows; `columns` replace or, where None, remove columns."""
    images, labels = bands(train + val)
    split = np.repeat([0, 1], [train, val]).astype(np.int8)
    block = {"image": images, "label": labels, "split": split, **columns}
    with create_store(path) as writer:
        writer.start("samples", CLASSES, channels)
        writer.append({name: values for name, values in block.items() if values is not None})
        for name, value in (documents or {}).items():
            writer.document(name, value)
    return path
