"""The settings of `fer train`, and which of them do not go together."""

import re
from dataclasses import dataclass

from .. import models
from ..errors import UsageError
from ..models.shipped import shipped
from ..spec import Spec, option

_SHIPPED = "|".join(shipped())


@dataclass(frozen=True)
class TrainSpec(Spec):
    """Settings of `fer train`."""

    model: str = option("njoku", "Network to train.", choices=models.names())
    layers: str | None = option(
        None,
        "Layers of alizadeh and alizadeh-hog: convFILTERSxKERNEL[-bn]-relu[-drop][-pool] for each convolution, "
        "then fcNEURONS[-bn]-relu[-drop] for each dense layer.",
        metavar="WORDS",
    )
    head: str | None = option(
        None,
        "The last layers of an alexnet: fc, three dense layers, or dense, a single one. [default: fc]",
        metavar="fc|dense",
    )
    epochs: int = option(30, "Passes over the training rows.", low=1)
    batch: int = option(64, "Rows a step.", low=1)
    init: str | None = option(
        None,
        "Weights to begin with, where name and shape fit: a model, a state dict, one that comes with fercli, or "
        "imagenet (downloaded).",
        metavar=f"MODEL.h5|FILE.pth|FILE.safetensors|{_SHIPPED}|imagenet",
    )
    freeze: int | None = option(
        None,
        "Leave the first so many convolutions as they are, and compute them once where images stay the same.",
        low=1,
        metavar="K",
    )
    optimizer: str = option("adam", "Rule that moves the weights.", choices=("sgd", "nesterov", "adam", "adamw"))
    lr: float = option(1e-3, "Learning rate, at its highest.", low=0)
    momentum: float = option(0.9, "Momentum of sgd and nesterov, first beta of adam and adamw.", low=0, high=0.9999)
    beta2: float = option(0.999, "Second beta of adam and adamw.", low=0, high=0.999999)
    weight_decay: float = option(0.0, "L2 penalty on the weights (adamw: decay apart from the gradient).", low=0)
    schedule: str = option("constant", "Learning rate over the steps.", choices=("constant", "cosine", "onecycle"))
    warmup: float = option(0.0, "Epochs over which the learning rate rises from 0.", low=0)
    clip: float | None = option(None, "Shorten gradients whose norm over all weights is above this.", low=1e-6)
    sam: float | None = option(
        None, "Sharpness-aware minimisation with this radius, two passes a step.", low=0, metavar="RHO"
    )
    ema: float | None = option(
        None,
        "Decay of an average of the weights over the steps, such as 0.998; the model is the average.",
        low=0,
        high=0.999999,
    )
    dropout: float | None = option(None, "Rate of every dropout layer. [default: the model's own]", low=0, high=0.99)
    label_smoothing: float = option(0.0, "Share of each label spread over all classes.", low=0, high=0.99)
    mixup: float = option(0.0, "Mix pictures two by two, the shares drawn from Beta(A, A).", low=0, metavar="A")
    cutmix: float = option(0.0, "Paste a part of one picture into another, likewise.", low=0, metavar="A")
    votes: bool = option(False, "Learn how the votes for each class are shared, where the store has them.")
    teacher: tuple[str, ...] = option(
        (), "Model whose answers are learnt beside the labels.", metavar=f"MODEL.h5|{_SHIPPED}"
    )
    teacher_weight: float = option(0.5, "Share of the loss that the teachers' answers have.", low=0, high=1)
    temperature: float = option(2.0, "How soft the teachers' answers are learnt.", low=0.1)
    heads: tuple[str, ...] = option(
        (), "Learn this attribute too, beside the expression, by a head of its own.", metavar="NAME"
    )
    class_weights: str = option(
        "none", "Weigh classes alike, however many rows each has.", choices=("none", "balanced")
    )
    normalise: str = option(
        "unit", "Pixels to 0..1, to the training mean 0 and deviation 1, or by the mean and deviation of ImageNet.",
        choices=("unit", "standard", "imagenet"),
    )  # fmt: skip
    fold: str | None = option(
        None,
        "Train without this fold, or without each in its turn, and write the predictions of the rows left out.",
        metavar="K|all",
    )
    search: tuple[str, ...] = option(
        (), "Train with each of these values and keep the best in validation, such as dropout=0.1,0.2.",
        metavar="SETTING=A,B",
    )  # fmt: skip
    holdout: float = option(
        0.0, "Share of the training pictures that chooses the epoch instead of the val rows.", low=0, high=0.5
    )
    select: str = option(
        "accuracy", "What the epoch kept is best at in validation, or the last.", choices=("accuracy", "loss", "last")
    )
    precise_bn: bool = option(
        False,
        "Estimate the batch normalisations anew at the end, over the training rows, every second batch not augmented.",
    )
    calibrate: bool = option(
        False, "Scale the logits so that probabilities come true in validation, and see if int8 serves."
    )
    half: bool = option(False, "Store the weights in half precision: half the size.")
    patience: int | None = option(None, "Stop after so many epochs without a better one.", low=1)
    precision: str = option(
        "float32",
        "Arithmetic of the steps; auto is bfloat16 where the hardware has it, which is quicker, and teachers answer in "
        "int8 then where fer predict would.",
        choices=("auto", "float32", "bfloat16"),
    )
    compile: str = option("auto", "On a GPU, repeat a step as one CUDA graph.", choices=("auto", "none"))
    device: str = option("auto", "Where to train.", choices=("auto", "cpu", "cuda"))
    threads: int | None = option(None, "CPU threads. [default: one a core]", low=1, high=1024)
    seed: int = option(0, "Seed of all that is random.", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads:
            self._check_heads()
        if self.optimizer == "nesterov" and not self.momentum:
            raise UsageError("--optimizer nesterov is nothing without momentum: raise --momentum, or type sgd")
        if self.patience and self.select == "last":
            raise UsageError("--patience waits for a better epoch, and --select last keeps the last: leave one out")
        if self.fold is not None:
            self._check_fold()

    def _check_fold(self) -> None:
        if self.fold != "all" and not re.fullmatch("[0-9]{1,5}", self.fold):
            raise UsageError(f"--fold is {self.fold!r}, but it takes the number of a fold, or all")
        if self.search:
            raise UsageError("--search keeps one model and --fold keeps none: search first, and then type --fold")
        for name in ("patience", "calibrate"):
            if getattr(self, name) and not self.holdout:
                raise UsageError(f"--{name} needs pictures beside the fold that is left out: add --holdout 0.1")

    def _check_heads(self) -> None:
        for name in ("mixup", "cutmix", "votes", "teacher"):
            if getattr(self, name):
                raise UsageError(f"--heads learns plain labels, one a head: leave --{name} out")
