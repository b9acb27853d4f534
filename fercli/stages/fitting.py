"""Whether a model fits the rows of a store, and what the provenance of the model says of its own data."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .. import labels
from ..errors import DataError
from ..spec import Spec
from ..store import Reader
from .dense import GRADIENTS
from .gradients import GradientsSpec

if TYPE_CHECKING:
    from ..learn.modelstore import Model

S = TypeVar("S", bound=Spec)


def check_fit(model: "Model", src: Reader) -> None:
    """Raises DataError that says what to type unless the model takes the images of `src`."""
    if "image" not in src.columns:
        raise DataError(f"{src.name} holds no images to label: make a store of them with fer ingest")
    if src.channels != model.channels:
        hint = "make it gray with fer detect --detector none"
        if model.channels == GRADIENTS:
            hint = next((f"type {spec.line}" for spec in channels_of(model.provenance)), "run fer gradients first")
        elif src.channels == GRADIENTS:
            hint = "give the store that fer gradients was run on"
        ours, theirs = " ".join(model.channels), " ".join(src.channels)
        raise DataError(f"{src.name} has the channels {theirs}, and the model takes {ours}: {hint}")
    _check_gradients(model, src)
    size, (height, width) = model.card.size, src.shape("image")[:2]
    if (height, width) != (size, size):
        hint = f"type fer detect --detector none --size {size}"
        if model.channels == GRADIENTS:
            made = next(channels_of(model.provenance), GradientsSpec())
            hint = f"give the store that fer gradients was run on to {replace(made, size=size).line}"
        raise DataError(
            f"{src.name} holds images of {width}x{height} pixels, and the model takes {size}x{size}: {hint}"
        )
    for name in model.columns[1:]:
        if name not in src.columns:
            raise DataError(
                f"{src.name} has no column {name!r}, which the model reads beside the images: "
                f"add it with fer gradients --operator none --{name}"
            )
        ours, theirs = model.card.arguments.get(name), src.shape(name)[0]
        if ours != theirs:
            raise DataError(f"{src.name} has {theirs} {name} features a face, and the model takes {ours}")


def channels_of(provenance: list[dict]) -> Iterator[GradientsSpec]:
    """The settings with which `fer gradients` made channels on the way to the data, the last run first."""
    return (spec for spec in past(provenance, "gradients", GradientsSpec) if spec.operator != "none")


def _check_gradients(model: "Model", src: Reader) -> None:
    """Raises DataError where both tell how their gradient channels were made, and these are not the same."""
    known = list(channels_of(model.provenance))
    for spec in channels_of(src.provenance):
        if known and all((one.operator, one.mapping) != (spec.operator, spec.mapping) for one in known):
            raise DataError(
                f"{src.name} has the gradient channels of --operator {spec.operator} --mapping {spec.mapping}, and the "
                f"model takes those of --operator {known[0].operator} --mapping {known[0].mapping}: "
                f"give the store that fer gradients was run on to {known[0].line}"
            )


def translated(model: "Model", src: Reader, rows: np.ndarray | None = None) -> np.ndarray:
    """(N,) int16: the labels of all rows among the model's classes. Labels that none of `rows` (None: all) has may be
    any; they are -1.
    """
    label = src.column("label")
    shown = [code for code in np.unique(label if rows is None else label[rows]) if code >= 0]
    try:
        known = labels.translation([src.classes[code] for code in shown], model.classes)
    except DataError as error:
        raise DataError(
            f"{src.name} has labels that the model does not know: {error}; label the photos themselves, whose labels "
            f"nobody asks for, or train a model on such faces"
        ) from None
    where = np.full(len(src.classes) + 1, -1, np.int16)  # the last for -1, unlabelled
    where[shown] = known
    return where[label]


def past(provenance: list[dict], stage: str, spec: type[S]) -> Iterator[S]:
    """The settings with which a stage was run on the way to the model's data, the last run first."""
    for entry in reversed(provenance):
        if entry["stage"] == stage:
            known = {field.name for field in fields(spec)}
            yield spec(**{name: value for name, value in entry["spec"].items() if name in known})
