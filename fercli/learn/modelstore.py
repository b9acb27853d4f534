"""Models as stores: weights as plain arrays, and beside them all that using or judging the model takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import models
from ..errors import DataError, UsageError
from ..models.inputs import columns
from ..spec import nearest
from ..store import Reader, Writer
from .device import device_errors
from .fuse import fold_norms
from .heads import Head, as_arguments, parts, widths
from .infer import log_probabilities
from .inputs import Inputs
from .int8 import in_int8
from .normalise import Normalise

#: So much more log loss in int8 is none: a hundredth of that in float32, and a thousandth of a nat.
NEGLIGIBLE = 0.01, 0.001


@dataclass(frozen=True)
class Card:
    """The document "model": what the network is, what it takes, and how it came about."""

    name: str  # in fercli.models
    arguments: dict[str, Any]  # of its builder
    size: int  # side of the square images, px
    mean: list[float]  # one number a channel, see Normalise
    deviation: list[float]
    spec: dict[str, Any] = field(default_factory=dict)  # the settings of fer train
    metrics: dict[str, Any] = field(default_factory=dict)  # of the epoch kept
    temperature: float = 1.0  # by which logits are divided, so that probabilities come true (see calibrate)
    heads: tuple[Head, ...] = ()  # beside the expression's
    losses: dict[str, float] = field(default_factory=dict)  # log loss in validation (nats) in "float32" and "int8"

    @property
    def int8_serves(self) -> bool:
        """Whether the answers in int8 were as good as those in float32 in validation, where both were looked at."""
        share, more = NEGLIGIBLE
        return bool(self.losses) and self.losses["int8"] <= (1 + share) * self.losses["float32"] + more


@dataclass(frozen=True)
class Model:
    """A network ready to answer: `classes` name its outputs, `channels` its input's channels.

    Of the further heads that were trained it has those that were asked for, `heads`.
    """

    card: Card
    network: nn.Module
    normalise: Normalise
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    trained_on: np.ndarray  # (M, 16) uint8, digests of the pictures it was trained on
    provenance: list[dict[str, Any]]  # of the model: the stages that made its training data, and fer train
    heads: tuple[Head, ...] = ()
    dtype: torch.dtype = torch.float32  # in which it computes, as far as it can

    @property
    def device(self) -> torch.device:
        """Where it answers."""
        return next(self.network.parameters()).device

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, "image" first."""
        return columns(self.network)

    def probabilities(self, inputs: Inputs, batch: int | None = None) -> np.ndarray:
        """(N, K) float32 of N rows of the model's columns, the images of its size and channels."""
        return self.answers(inputs, batch)[0]

    def answers(self, inputs: Inputs, batch: int | None = None) -> list[np.ndarray]:
        """The probabilities of the classes, then those of each of its `heads`, all float32."""
        side_by_side = widths(self.classes, self.heads)
        told = log_probabilities(self.network, self.normalise, inputs, batch, self.card.temperature, side_by_side)
        return parts(np.exp(told), side_by_side)


def save(
    dst: Writer,
    card: Card,
    classes: Sequence[str],
    channels: Sequence[str],
    weights: Mapping[str, Tensor],
    history: Mapping[str, Sequence[float]],
    trained_on: np.ndarray,
    augment: Any = None,
    run: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Writes a model. `weights` is a state dict; `history` one value an epoch by name; `augment` the recipe that the
    training rows were augmented with online; `run` what a checkpoint needs to know besides. `half`: weights in float16.
    """
    dst.start("model", classes, channels)
    dst.document("model", asdict(card) | ({"run": dict(run)} if run else {}))
    if augment is not None:
        dst.document("augment", augment)
    for name, values in sorted(weights.items()):  # a resumed run holds them in another order
        stored = values.detach().cpu().numpy()
        dst.array(f"weights/{name}", halved(stored, name) if half else stored)
    for name, series in history.items():
        dst.array(f"history/{name}", np.array(series, np.float64))
    dst.array("trained_on", trained_on)


def halved(values: np.ndarray, name: str) -> np.ndarray:
    """The weights `name` in float16; whole numbers as they are. Raises DataError where one is too large for that."""
    if values.dtype != np.float32:
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise DataError(f"{name} holds values beyond 65,504, the largest in half precision: leave --half out")
    return half


def load(src: Reader, device: torch.device, dtype: torch.dtype = torch.float32, heads: Sequence[str] = ()) -> Model:
    """The model of a store, in evaluation mode on `device`, to compute in `dtype`, with those of its further heads that
    are named. In int8 it computes as far as it can, see `int8.in_int8`, and only on a CPU.

    Raises UsageError for a head that it lacks and for a network that has no form in int8, and DataError that names what
    does not fit the architecture; nothing is allocated before all of it is compared.
    """
    card = read_card(src)
    asked = _asked(card, heads, src.name)
    stored = read_weights(src)
    check_weights(_empty(src, card, card.heads).state_dict(), stored, src.name)
    network = _empty(src, card, asked)
    weights = {name: torch.from_numpy(stored[name]) for name in network.state_dict()}
    network.load_state_dict(weights, assign=True)
    trained_on = src.array("trained_on")
    if trained_on.dtype != np.uint8 or trained_on.ndim != 2 or trained_on.shape[1] != 16:
        raise DataError(f"{src.name} is damaged: trained_on is {_described(trained_on)}")
    network = network.eval().requires_grad_(False)
    if dtype == torch.int8:
        network, dtype = in_int8(network, Normalise(card.mean, card.deviation), src.name), torch.float32
    else:
        network = fold_norms(network)
    with device_errors():
        network = network.to(device, dtype, memory_format=torch.channels_last)
        normalise = Normalise(card.mean, card.deviation, dtype).to(device)
    return Model(
        card,
        network,
        normalise,
        src.classes,
        src.channels,
        trained_on,
        src.provenance,
        asked,
        dtype,
    )


def _asked(card: Card, names: Sequence[str], store: str) -> tuple[Head, ...]:
    """The heads of these names, in the card's order. Raises UsageError for one that it lacks."""
    known = [head.name for head in card.heads]
    for name in names:
        if name not in known:
            has = nearest(name, known) if known else f"it answers expressions alone: train one with --heads {name}"
            raise UsageError(f"{store} has no head {name!r}; {has}")
    return tuple(head for head in card.heads if head.name in names)


def _empty(src: Reader, card: Card, heads: Sequence[Head]) -> nn.Module:
    """The network of a model store with these of its further heads, without values. Raises DataError."""
    arguments = card.arguments | as_arguments(heads)
    try:
        with torch.device("meta"):  # shapes only
            return models.build(card.name, len(src.classes), len(src.channels), card.size, **arguments)
    except (UsageError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{src.name} cannot be built: {error}") from error


def read_weights(src: Reader) -> dict[str, np.ndarray]:
    """The weights of a model store by name, those in half precision as float32."""
    found = {name: np.asarray(values) for name, values in src.arrays("weights").items()}
    return {name: values.astype(np.float32) if values.dtype == np.float16 else values for name, values in found.items()}


_CARD = {
    "name": str, "arguments": dict, "size": int, "mean": list, "deviation": list, "spec": dict, "metrics": dict,
}  # fmt: skip


def read_card(src: Reader) -> Card:
    """The document "model". Raises DataError unless each part of it has its type."""
    found = src.documents.get("model")
    if not isinstance(found, dict):
        raise DataError(f"{src.name} says nothing about its network: it is no model made by fer train")
    for key, kind in _CARD.items():
        if not isinstance(found.get(key), kind):
            raise DataError(f"{src.name} is damaged: {key} in its model document is {found.get(key)!r}")
    for key in ("mean", "deviation"):
        numbers = [value for value in found[key] if isinstance(value, float | int)]
        if len(numbers) != len(src.channels) or (key == "deviation" and min(numbers) <= 0):
            raise DataError(f"{src.name} is damaged: {key} is {found[key]!r} for {len(src.channels)} channels")
    temperature = found.get("temperature", 1.0)
    if not isinstance(temperature, float) or not 0 < temperature < math.inf:
        raise DataError(f"{src.name} is damaged: temperature in its model document is {temperature!r}")
    losses = found.get("losses", {})
    if not isinstance(losses, dict) or (losses and not all(_is_loss(losses.get(name)) for name in ("float32", "int8"))):
        raise DataError(f"{src.name} is damaged: losses in its model document is {losses!r}")
    return Card(
        **{key: found[key] for key in _CARD},
        temperature=temperature,
        heads=_heads(found.get("heads", []), src.name),
        losses=losses,
    )


def _is_loss(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value < math.inf


def _heads(found: Any, name: str) -> tuple[Head, ...]:
    """The heads of a model document. Raises DataError for what is no list of distinct names with distinct classes."""
    try:
        heads = tuple(Head(entry["name"], tuple(entry["classes"])) for entry in found)
        named = [[head.name for head in heads], *(head.classes for head in heads)]
        sound = all(len(set(names)) == len(names) and all(isinstance(one, str) for one in names) for names in named)
        sound = sound and all(head.classes for head in heads)
    except (TypeError, KeyError, UsageError):
        sound = False
    if not sound:
        raise DataError(f"{name} is damaged: heads in its model document is {found!r}")
    return heads


def check_weights(expected: Mapping[str, Tensor], found: Mapping[str, np.ndarray], name: str) -> None:
    """Raises DataError that names the first weights that are missing, too many, of another shape or type, or NaN."""
    for key in sorted(expected.keys() | found.keys()):
        if key not in found:
            raise DataError(f"{name} lacks the weights {key}: it was made for another network")
        if key not in expected:
            raise DataError(f"{name} holds the weights {key}, which its network does not have")
        ours, theirs = _described(expected[key]), _described(found[key])
        if ours != theirs:
            raise DataError(f"{name} holds the weights {key} as {theirs}, and its network takes {ours}")
        if not np.isfinite(found[key]).all():
            raise DataError(f"{name} is damaged: the weights {key} hold values that are not finite numbers")


def _described(values: Tensor | np.ndarray) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} of shape {'x'.join(map(str, values.shape)) or 'one number'}"
