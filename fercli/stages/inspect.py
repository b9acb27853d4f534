"""What a store holds, and whether it is sound."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import DataError
from ..ops import image
from ..store import SPLITS, Block, Reader
from .photos import to_gray_if_equal
from .runner import Log

#: Stages whose output keeps the digest of the picture that a row came from while its pixels differ.
_PIXELS_CHANGED = {"gradients", "augment"}
#: What a network holds beside its parameters: what batch normalisation has seen.
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def describe(store: Reader) -> dict[str, Any]:
    """Facts about a store as plain values: kind, rows, classes, columns with shapes, counts, provenance."""
    facts: dict[str, Any] = {"name": store.name, "kind": store.kind, "rows": store.rows, "classes": list(store.classes)}
    facts["channels"] = list(store.channels)
    if store.kind == "model":
        facts["model"] = store.documents.get("model", {})
        weights = store.arrays("weights").items()
        facts["parameters"] = sum(values.size for name, values in weights if not name.endswith(_BUFFERS))
        facts["history"] = history(store)
    else:
        facts["columns"] = {name: list(store.shape(name)) for name in store.columns}
        facts["counts"] = counts(store)
    facts["provenance"] = store.provenance
    return facts


def history(store: Reader) -> dict[str, list[float]]:
    """How a training went, one value an epoch by name. Raises DataError: a store that is no model, or a damaged one."""
    if store.kind != "model":
        raise DataError(f"{store.name} holds {store.kind}, and only a model has a history: name one made by fer train")
    series = dict(sorted(store.arrays("history").items()))
    numbers = all(values.ndim == 1 and values.dtype.kind == "f" for values in series.values())
    if not numbers or len({len(values) for values in series.values()}) > 1:
        raise DataError(f"{store.name} is damaged: its history is not one number an epoch of {', '.join(series)}")
    return {name: values.tolist() for name, values in series.items()}


def counts(store: Reader) -> dict[str, dict[str, int]]:
    """Rows of each class within each split: {"train": {"angry": 3995, ...}}; "all" where there are no splits."""
    if "label" not in store.columns:
        return {}
    label = store.column("label")
    split = store.column("split") if "split" in store.columns else np.full(len(label), -1)
    names = {code: name for code, name in enumerate(SPLITS) if (split == code).any()} or {-1: "all"}
    told = {}
    for code, name in names.items():
        tally = np.bincount(label[split == code] + 1, minlength=len(store.classes) + 1)
        told[name] = dict(zip(store.classes, tally[1:].tolist(), strict=True))
        if tally[0]:
            told[name]["unlabelled"] = int(tally[0])
    return told


def verify(store: Reader, log: Log) -> int:
    """Reads every row; decodes every photo; compares pixels with digests. Returns the number of rows.

    Raises DataError that names the first row at fault.
    """
    if store.kind == "model":
        for name, shape in store.array_names().items():
            values = store.array(name)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise DataError(f"{store.name}: {name} of shape {shape} holds values that are not finite numbers")
        return 0
    changed = sorted({entry["stage"] for entry in store.provenance} & _PIXELS_CHANGED)
    if changed and "digest" in store.columns:
        log.note(f"pixels are not compared with digests, which are those from before fer {' and '.join(changed)}")
    log.total(store.rows)
    done = 0
    for block in store.blocks():
        for row, pixels in enumerate(_images(block, store.name, done), start=done):
            if not changed and "digest" in block and image.digest(pixels) != block["digest"][row - done].tobytes():
                raise DataError(f"{store.name}: the pixels of row {row} are not those that its digest was made of")
        size = len(next(iter(block.values())))
        done += size
        log.advance(size)
    return done


def _images(block: Block, name: str, first: int) -> Iterator[np.ndarray]:
    """The images of a block that begins at row `first`, as ingest made digests of them."""
    if "encoded" not in block:
        yield from block.get("image", ())
        return
    for row, photo in enumerate(block["encoded"], start=first):
        yield to_gray_if_equal(_decoded(photo, f"{name}: row {row}"))


def _decoded(photo: bytes, where: str) -> np.ndarray:
    try:
        return image.decode(photo)
    except DataError as error:
        raise DataError(f"{where} cannot be decoded: {error}") from None
