"""What a model makes of crops of faces: the columns of predictions."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError
from ..ops.views import views
from ..store import Block, objects
from ..store.schema import HEAD_PREFIX, HEAD_PROBABILITY_PREFIX
from .dense import GRADIENTS
from .fitting import past
from .gradients import GradientsSpec, transform
from .rows import UNSURE

if TYPE_CHECKING:
    from ..learn.inputs import Inputs
    from ..learn.modelstore import Model


class Answering:
    """The answers of a model, `batch` faces a pass through the network (None: what suits its device), averaged over the
    views `tta` of each face (see `ops.views`). `heads` are the classes of its further heads, by name.

    Raises UsageError: several views for a model that reads more than pixels.
    """

    def __init__(self, model: "Model", batch: int | None, tta: str) -> None:
        from ..learn.infer import BATCH

        if tta != "none" and (model.columns != ("image",) or model.channels == GRADIENTS):
            raise UsageError(
                f"--tta {tta} changes pixels, and this model reads gradients or features too: leave it out"
            )
        self._model, self._tta = model, tta
        self.classes = model.classes
        self.heads = {head.name: head.classes for head in model.heads}
        self._asked = batch
        self.batch = batch or BATCH[model.device.type]
        self._trained_on = set(_as_bytes(model.trained_on))
        self._gradients = list(past(model.provenance, "gradients", GradientsSpec))

    def of_crops(self, crops: np.ndarray, digests: np.ndarray) -> Block:
        """Answers for gray crops, made into the channels and features that the model was trained on."""
        return self.of_inputs(self._inputs(crops) if len(crops) else (crops,), digests)

    def _inputs(self, crops: np.ndarray) -> "Inputs":
        """What the model reads of gray crops (N, S, S), by the stages that made it for the training data."""
        block = {"image": crops}
        derived = next((spec for spec in self._gradients if spec.operator != "none"), None)
        if derived:
            block["image"] = transform(block, replace(derived, hog=False))["image"]
        elif self._model.channels != ("gray",):
            raise DataError(
                f"the model takes the channels {' '.join(self._model.channels)}, and faces are cropped to gray: "
                f"make a store of them with fer detect and the stages after it, and predict that"
            )
        described = next((spec for spec in self._gradients if spec.hog), None)
        if described:
            block["hog"] = transform({"image": crops}, replace(described, operator="none"))["hog"]
        for name in self._model.columns:
            if name not in block:
                raise DataError(
                    f"the model reads a column {name!r} that fer gradients did not make: "
                    f"make a store of the faces with fer detect, add the column, and predict that"
                )
        return [block[name] for name in self._model.columns]

    def of_inputs(self, inputs: "Inputs", digests: np.ndarray) -> Block:
        """The columns digest, probability, predicted and seen of N rows with digests (N, 16), and those of heads."""
        from ..learn.device import device_errors

        if not len(digests):
            answers = [np.zeros((0, len(names)), np.float32) for names in (self.classes, *self.heads.values())]
        else:
            images, *features = inputs
            with device_errors(self._asked):
                seen = [self._model.answers((view, *features), self._asked) for view in views(images, self._tta)]
            answers = [np.mean(told, axis=0) for told in zip(*seen, strict=True)]
        probability, *further = answers
        told = dict(zip(self.heads, further, strict=True))
        return {
            "digest": digests,
            "probability": probability,
            "predicted": probability.argmax(axis=1).astype(np.int16),
            **{HEAD_PROBABILITY_PREFIX + name: chances for name, chances in told.items()},
            **{HEAD_PREFIX + name: chances.argmax(axis=1).astype(np.int16) for name, chances in told.items()},
            "seen": np.array([digest in self._trained_on for digest in _as_bytes(digests)], bool),
        }


def _as_bytes(digests: np.ndarray) -> list[bytes]:
    """Digests (N, 16) uint8, each as its bytes."""
    return np.ascontiguousarray(digests).view("V16").ravel().tolist()


def withhold(block: Block, least: float) -> Block:
    """The block without the labels (predicted -1) of rows whose most probable class is less probable than `least`."""
    if not least:
        return block
    unsure = (block["predicted"] >= 0) & (block["probability"].max(axis=1) < least)
    reasons = block["error"] if "error" in block else [""] * len(unsure)
    told = objects(UNSURE if doubt else reason for doubt, reason in zip(unsure, reasons, strict=True))
    return {**block, "predicted": np.where(unsure, -1, block["predicted"]).astype(np.int16), "error": told}
