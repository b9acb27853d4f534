"""`predict`: the class probabilities of faces under a trained model."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import labels
from ..errors import DataError
from ..store import Block, Reader, objects, open_store

if TYPE_CHECKING:
    from ..learn.modelstore import Model

#: Columns that a prediction takes over from its face.
_KEPT = ("source", "split", "box", "score")


def load_model(path: str | Path, device: str = "auto") -> "Model":
    """The model of a store made by `fer train`, on `--device auto|cpu|cuda`."""
    from ..learn.device import choose_device
    from ..learn.modelstore import load

    with open_store(path, "model") as src:
        return load(src, choose_device(device))


def predict_rows(model: "Model", src: Reader, batch: int) -> Iterator[Block]:
    """Prediction blocks for the dense images of `src`, one row an image, in the classes of the model.

    Columns: probability (N, K) float32, predicted (N,) int16, digest, seen (the model was trained on this picture),
    parent (the row's number in `src`), source ("row 5" where `src` has none), and of split, box, score and label (by
    name among the model's classes) those that `src` has.

    Raises DataError: images of another size or other channels than the model takes, and labelled rows of a class that
    it lacks.
    """
    from ..learn.device import gpu_memory
    from ..learn.rows import make_digests

    check_fit(model, src)
    label = _translated(model, src) if "label" in src.columns else None
    trained_on = {digest.tobytes() for digest in model.trained_on}
    columns = [name for name in (*_KEPT, "image", "digest") if name in src.columns]
    first = 0
    for block in src.blocks(columns):
        images = block.pop("image")
        digests = block["digest"] if "digest" in block else make_digests(images)
        with gpu_memory(batch):
            answers = answer(model, images, digests, trained_on, batch)
        rows = np.arange(first, first + len(images))
        if label is not None:
            answers["label"] = label[rows]
        yield {"source": objects(f"row {row}" for row in rows), **block, **answers, "parent": rows}
        first += len(rows)


def check_fit(model: "Model", src: Reader) -> None:
    """Raises DataError that says what to type unless the model takes the images of `src`."""
    if "image" not in src.columns:
        raise DataError(f"{src.name} holds whole photos, and a model takes faces: crop them first with fer detect")
    if src.channels != model.channels:
        hint = "run fer gradients first" if "gx" in model.channels else "make it gray with fer detect --detector none"
        ours, theirs = " ".join(model.channels), " ".join(src.channels)
        raise DataError(f"{src.name} has the channels {theirs}, and the model takes {ours}: {hint}")
    size, (height, width) = model.card.size, src.shape("image")[:2]
    if (height, width) != (size, size):
        raise DataError(
            f"{src.name} holds images of {width}x{height} pixels, and the model takes {size}x{size}: "
            f"type fer detect --detector none --size {size}"
        )


def answer(model: "Model", images: np.ndarray, digests: np.ndarray, trained_on: set[bytes], batch: int) -> Block:
    """The columns digest, probability, predicted and seen of images (N, H, W[, C]) uint8 with digests (N, 16)."""
    probability = model.probabilities(images, batch)
    return {
        "digest": digests,
        "probability": probability,
        "predicted": probability.argmax(axis=1).astype(np.int16),
        "seen": np.array([digest.tobytes() in trained_on for digest in digests], bool),
    }


def _translated(model: "Model", src: Reader) -> np.ndarray:
    """(N,) int16: the labels of all rows among the model's classes. Classes that no row shows may be any."""
    label = src.column("label")
    shown = [code for code in np.unique(label) if code >= 0]
    try:
        known = labels.translation([src.classes[code] for code in shown], model.classes)
    except DataError as error:
        raise DataError(f"{src.name} has labels that the model does not know: {error}") from None
    where = np.full(len(src.classes) + 1, -1, np.int16)  # the last for -1, unlabelled
    where[shown] = known
    return where[label]
