"""What a training run begins with: the network with its first weights, the data, and all that trains it."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import models
from ..errors import DataError, UsageError
from ..learn import ranks, stored
from ..learn.augment import Augment
from ..learn.batches import Batches
from ..learn.device import choose_precision, precision_name
from ..learn.freeze import freeze
from ..learn.heads import Head, HeadsLoss, as_arguments, check_values, read_heads, widths
from ..learn.loop import epoch_seed
from ..learn.mix import Mix
from ..learn.modelstore import Card, load, read_card
from ..learn.normalise import Normalise, statistics
from ..learn.optimizer import Ascent, make_optimizer
from ..learn.rows import Rows, check_features, read_digests
from ..learn.shared import SharedLoss, share_norms
from ..learn.step import Rule
from ..learn.stored import Stored, read_inputs
from ..learn.teach import Teachers
from ..learn.training import Training, class_weights
from ..learn.transfer import head_of, some, transfer
from ..learn.weights import read_weights
from ..models.inputs import columns
from ..models.shipped import model_path
from ..ops.augment import Recipe
from ..store import Reader, open_store
from .runner import Log
from .trainspec import TrainSpec

NO_DIGESTS = np.empty((0, 16), np.uint8)


def prepare(src: Reader, rows: Rows, spec: TrainSpec, size: int, device: torch.device, log: Log) -> Training:
    """The network with its first weights, and everything that trains it, on the device."""
    arguments = _own_arguments(spec)
    heads, values = read_heads(src, spec.heads)
    check_values(heads, values[rows.train], src.name)
    make = partial(models.build, spec.model, channels=len(src.channels), size=size, **as_arguments(heads))
    reads = check_network(spec, len(src.classes), len(src.channels), size, heads)
    check_features(src, spec.model, reads)
    arguments |= {name: src.shape(name)[0] for name in reads[1:]}
    torch.manual_seed(epoch_seed(spec.seed, 0))
    network = make(len(src.classes), **arguments)
    known, anew = NO_DIGESTS, frozenset()
    if spec.init:
        known, anew = _begin(network, partial(make, **arguments), src, spec, log)
    network = share_norms(network)
    frozen = freeze(network, spec.model, spec.freeze) if spec.freeze else ()
    if random := [name for name, layer in network.named_modules() if name in anew and layer in frozen]:
        log.note(f"--freeze keeps {some(random)} as random as they begin: {spec.init} does not give them")
    network = network.to(device, memory_format=torch.channels_last)
    settings = spec.as_dict() | {"precision": precision_name(choose_precision(spec.precision, device))}
    label = src.column("label").astype("int64")
    inputs = read_inputs(src, reads, rows.train)
    if isinstance(inputs[0], Stored):
        size_of = sum(column.nbytes for column in inputs)
        log.note(
            f"the training rows take {size_of / 1e9:.1f} GB: they are read, and shuffled, "
            f"{stored.WINDOW / 1e9:g} GB at a time"
        )
    mean, deviation = statistics(inputs[0], spec.normalise)
    recipe = src.documents.get("augment")
    criterion = _criterion(label[rows.train], values[rows.train], src.classes, heads, spec).to(device)
    rule = _rule(network, Normalise(mean, deviation).to(device), frozen, criterion, src, spec, size, device)
    rule.widths = widths(src.classes, heads)
    taught = [model.trained_on for model in rule.teachers.models] if rule.teachers else []
    return Training(
        card=Card(spec.model, arguments, size, mean, deviation, settings, heads=heads),
        classes=src.classes,
        channels=src.channels,
        network=network,
        rule=rule,
        batches=Batches(
            inputs, _targets(src, rows.train, label, values, spec), batch=spec.batch, seed=spec.seed, device=device,
            augment=_online(recipe, rows.train, size),
        ),
        validation=(read_inputs(src, reads, rows.validation), label[rows.validation]),
        trained_on=np.unique(np.concatenate([read_digests(src)[rows.train], known, *taught]), axis=0),
        select=spec.select,
        augment=recipe,
        further=values[rows.validation],
    )  # fmt: skip


def check_network(
    spec: TrainSpec, classes: int, channels: int, size: int, heads: Sequence[Head] = ()
) -> tuple[str, ...]:
    """The columns that the network reads, "image" first.

    Raises UsageError, without any work, where it cannot be built for images of `size` px, or be frozen or learn mixed
    pictures as the settings say.
    """
    with torch.device("meta"):  # shapes only
        network = models.build(spec.model, classes, channels, size, **as_arguments(heads), **_own_arguments(spec))
    if spec.freeze:
        freeze(network, spec.model, spec.freeze)
    reads = columns(network)
    if reads[1:] and (spec.mixup or spec.cutmix):
        flag, told = "--mixup" if spec.mixup else "--cutmix", " and ".join(reads[1:])
        raise UsageError(f"{flag} mixes pictures, and {spec.model} reads their {told} besides: leave {flag} out")
    return reads


def _own_arguments(spec: TrainSpec) -> dict[str, Any]:
    """What the settings tell the network itself. They stay with the model, so that it is built the same again."""
    told = {name: getattr(spec, name) for name in ("layers", "head", "dropout")}
    return {name: value for name, value in told.items() if value is not None}


def _rule(
    network: nn.Module, normalise: nn.Module, frozen: Sequence[nn.Module], criterion: nn.Module,
    src: Reader, spec: TrainSpec, size: int, device: torch.device,
) -> Rule:  # fmt: skip
    """What a step does, as the settings say."""
    trained = [one for one in network.parameters() if one.requires_grad]
    optimizer = make_optimizer(
        spec.optimizer, trained, spec.lr,
        momentum=spec.momentum, beta2=spec.beta2, weight_decay=spec.weight_decay,
    )  # fmt: skip
    mix = Mix(spec.mixup, spec.cutmix, len(src.classes), size, spec.seed) if spec.mixup or spec.cutmix else None
    return Rule(
        network,
        normalise,
        optimizer,
        criterion,
        bfloat16=choose_precision(spec.precision, device) == torch.bfloat16,
        frozen=frozen,
        mix=mix,
        teachers=_teachers(src, spec, size, device) if spec.teacher else None,
        clip=spec.clip,
        ascent=Ascent(trained, spec.sam) if spec.sam else None,
        average=copy.deepcopy(network).requires_grad_(False) if spec.ema else None,
        decay=spec.ema or 0.0,
    )


def _teachers(src: Reader, spec: TrainSpec, size: int, device: torch.device) -> Teachers:
    """The models whose answers are learnt, in int8 where `fer predict` would answer in it, which is most of the work.

    Raises DataError unless they take the same images to the same classes.
    """
    models = []
    for name in spec.teacher:
        with open_store(model_path(name), "model") as store:
            quickest = choose_precision(spec.precision, device, read_card(store).int8_serves)
            model = load(store, device, torch.int8 if quickest == torch.int8 else torch.float32)
        ours, theirs = (src.channels, size, src.classes), (model.channels, model.card.size, model.classes)
        if ours != theirs or model.columns != ("image",):
            raise DataError(f"{name} cannot teach: it takes {_taken(theirs)}, and {src.name} holds {_taken(ours)}")
        models.append(model)
    return Teachers(models, spec.teacher_weight, spec.temperature)


def _taken(what: tuple[tuple[str, ...], int, tuple[str, ...]]) -> str:
    channels, size, classes = what
    return f"{'-'.join(channels)} images of {size}x{size} pixels for {', '.join(classes)}"


def _criterion(
    label: np.ndarray, values: np.ndarray, classes: Sequence[str], heads: Sequence[Head], spec: TrainSpec
) -> nn.Module:
    """The loss, given what the training rows show: labels (N,), and of further heads their values (N, H)."""
    names = [classes, *(head.classes for head in heads)]
    weights = [
        class_weights(codes, len(known)) if spec.class_weights == "balanced" else None
        for codes, known in zip([label, *values.T], names, strict=True)
    ]
    waits = weights[0] is not None and spec.label_smoothing  # in torch's own loss, for an answer of a GPU
    if not heads and (waits or ranks.size() > 1):
        return SharedLoss(weights[0], spec.label_smoothing)
    if not heads:
        return nn.CrossEntropyLoss(weights[0], label_smoothing=spec.label_smoothing)
    return HeadsLoss(widths(classes, heads), weights, spec.label_smoothing)


def _targets(src: Reader, rows: np.ndarray, label: np.ndarray, values: np.ndarray, spec: TrainSpec) -> np.ndarray:
    """What is learnt of `rows`: their labels (N,); with further heads (N, 1 + H), their `values` behind them; or with
    --votes (N, K) float32 shares, which sum to 1.
    """
    if spec.heads:
        return np.column_stack([label, values])[rows]
    if not spec.votes:
        return label[rows]
    if "votes" not in src.columns:
        raise DataError(f"{src.name} has no votes to learn: leave --votes out, or ingest a data set that brings them")
    votes = src.column("votes")[rows]
    total = votes.sum(axis=1, keepdims=True)
    alone = np.eye(len(src.classes), dtype=np.float32)[label[rows]]  # for a row on which nobody voted
    return np.where(total > 0, votes / np.maximum(total, 1e-9), alone).astype(np.float32)


def _begin(
    network: nn.Module, make: Callable[[int], nn.Module], src: Reader, spec: TrainSpec, log: Log
) -> tuple[np.ndarray, frozenset[str]]:
    """Takes over the weights of `--init`; returns the digests (M, 16) of the pictures that these were trained on, and
    the names of the layers that they do not give.

    `make` builds the network for a number of classes.
    """
    weights = read_weights(spec.init, spec.model, log.note)
    with torch.device("meta"):  # shapes only
        head = head_of(make(len(src.classes)), make(len(src.classes) + 1))
    note, anew = transfer(network, weights, head, src.classes)
    log.note(note)
    return weights.trained_on, anew


def _online(recipe: dict[str, Any] | None, rows: np.ndarray, size: int) -> Augment | None:
    """The augmentation that the store asks for, of training rows `rows` (N,) with images of a side of `size` px."""
    if recipe is None:
        return None
    try:
        return Augment(Recipe(**recipe), rows, size)
    except TypeError as error:
        raise DataError(f"the augmentation that comes with the data is damaged: {error}") from error
