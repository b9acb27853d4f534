"""What a training run begins with: the network with its first weights, the data, and all that trains it."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from .. import models
from ..errors import DataError
from ..learn.batches import Augment, Batches
from ..learn.freeze import freeze
from ..learn.loop import epoch_seed
from ..learn.modelstore import Card
from ..learn.normalise import Normalise, statistics
from ..learn.optimizer import make_optimizer
from ..learn.rows import Rows, check_features, read_digests, read_inputs
from ..learn.training import Training, class_weights
from ..learn.transfer import head_of, transfer
from ..learn.weights import read_weights
from ..models.inputs import columns
from ..ops.augment import Recipe, augment
from ..store import Reader
from .runner import Log

if TYPE_CHECKING:
    from .train import TrainSpec

NO_DIGESTS = np.empty((0, 16), np.uint8)


def prepare(src: Reader, rows: Rows, spec: "TrainSpec", size: int, device: torch.device, log: Log) -> Training:
    """The network with its first weights, and everything that trains it, on the device."""
    arguments = {} if spec.dropout is None else {"dropout": spec.dropout}
    make = partial(models.build, spec.model, channels=len(src.channels), size=size)
    with torch.device("meta"):  # shapes only
        reads = columns(make(len(src.classes), **arguments))
    check_features(src, spec.model, reads)
    arguments |= {name: src.shape(name)[0] for name in reads[1:]}
    torch.manual_seed(epoch_seed(spec.seed, 0))
    network = make(len(src.classes), **arguments)
    known = _begin(network, partial(make, **arguments), src, spec, log) if spec.init else NO_DIGESTS
    frozen = freeze(network, spec.model, spec.freeze) if spec.freeze else ()
    network = network.to(device, memory_format=torch.channels_last)
    label = src.column("label").astype("int64")
    inputs = read_inputs(src, reads, rows.train)
    mean, deviation = statistics(inputs[0], spec.normalise)
    weight = class_weights(label[rows.train], len(src.classes)) if spec.class_weights == "balanced" else None
    recipe = src.documents.get("augment")
    return Training(
        card=Card(spec.model, arguments, size, mean, deviation, spec.as_dict()),
        classes=src.classes,
        channels=src.channels,
        network=network,
        normalise=Normalise(mean, deviation).to(device),
        optimizer=make_optimizer(
            spec.optimizer, [one for one in network.parameters() if one.requires_grad], spec.lr,
            momentum=spec.momentum, beta2=spec.beta2, weight_decay=spec.weight_decay,
        ),
        criterion=torch.nn.CrossEntropyLoss(weight, label_smoothing=spec.label_smoothing).to(device),
        batches=Batches(
            inputs, label[rows.train], rows.train,
            batch=spec.batch, seed=spec.seed, device=device, augment=_online(recipe),
        ),
        validation=(read_inputs(src, reads, rows.validation), label[rows.validation]),
        trained_on=np.concatenate([read_digests(src)[rows.train], known]),
        select=spec.select,
        augment=recipe,
        frozen=frozen,
    )  # fmt: skip


def _begin(
    network: nn.Module, make: Callable[[int], nn.Module], src: Reader, spec: "TrainSpec", log: Log
) -> np.ndarray:
    """Takes over the weights of `--init`; returns the digests (M, 16) of the pictures that these were trained on.

    `make` builds the network for a number of classes.
    """
    weights = read_weights(spec.init, spec.model, log.note)
    with torch.device("meta"):  # shapes only
        head = head_of(make(len(src.classes)), make(len(src.classes) + 1))
    log.note(transfer(network, weights, head, src.classes))
    return weights.trained_on


def _online(recipe: dict[str, Any] | None) -> Augment | None:
    """The augmentation that the store asks for, as a function of (images, rows, epoch)."""
    if recipe is None:
        return None
    try:
        made = Recipe(**recipe)
    except TypeError as error:
        raise DataError(f"the augmentation that comes with the data is damaged: {error}") from error
    return lambda images, rows, epoch: augment(images, made, rows, epoch)
