"""The networks of Alizadeh and Fazel 2017 (arXiv:1704.06756), written in their grammar.

[Conv-(BN)-ReLU-(Dropout)-(Maxpool)]M - [Affine-(BN)-ReLU-(Dropout)]N - Affine - Softmax is spelt in blocks, one a
word: `conv64x3-bn-relu-drop-pool` is 64 filters of 3x3 pixels, `fc512-bn-relu-drop` 512 neurons; bn, drop and pool may
be left out. The last affine layer, to the classes, is always there and is not spelt. The shallow and the deep network
have names of their own; `alizadeh` and `alizadeh-hog` are spelt by the user.

A hybrid network reads HOG features too, which its first dense layer finds behind the convolutional features.

Not stated, and so: convolutions pad to keep the side; a layer before a batch normalisation has no bias, which it would
undo; all dropouts have one rate, 0.25; the dense layer of the shallow network is normalised and dropped from as those
of the deep one are.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..ops.hog import FEATURES
from ..spec import nearest
from . import model
from .blocks import check_size
from .layers import Dropout

SHALLOW = "conv32x3-bn-relu-drop conv64x3-bn-relu-drop-pool fc512-bn-relu-drop"
DEEP = (
    "conv64x3-bn-relu-drop-pool conv128x5-bn-relu-drop-pool conv512x3-bn-relu-drop-pool conv512x3-bn-relu-drop-pool "
    "fc256-bn-relu-drop fc512-bn-relu-drop"
)
#: The spelling in a line, for those who mistook it.
GRAMMAR = (
    "layers are words convFILTERSxKERNEL[-bn]-relu[-drop][-pool] and behind them fcNEURONS[-bn]-relu[-drop], "
    "such as 'conv32x3-bn-relu-drop-pool fc512-bn-relu-drop'"
)
RATE = 0.25
ORDER = {"conv": ("bn", "relu", "drop", "pool"), "fc": ("bn", "relu", "drop")}


@model
def alizadeh(classes: int, channels: int, size: int, layers: str = SHALLOW, dropout: float = RATE) -> nn.Module:
    """The network spelt by `layers`. `dropout` is the rate of every dropout."""
    return _network("alizadeh", classes, channels, size, layers, dropout)


@model
def alizadeh_hog(
    classes: int, channels: int, size: int, layers: str = SHALLOW, dropout: float = RATE, hog: int = FEATURES
) -> nn.Module:
    """The network spelt by `layers` on images (N, channels, size, size) and their HOG features (N, hog)."""
    return _hybrid("alizadeh-hog", classes, channels, size, layers, dropout, hog)


@model
def alizadeh_shallow(classes: int, channels: int, size: int, dropout: float = RATE) -> nn.Module:
    """Two convolutions and a dense layer. `dropout` is the rate of every dropout."""
    return _network("alizadeh-shallow", classes, channels, size, SHALLOW, dropout)


@model
def alizadeh_deep(classes: int, channels: int, size: int, dropout: float = RATE) -> nn.Module:
    """Four convolutions and two dense layers. `dropout` is the rate of every dropout."""
    return _network("alizadeh-deep", classes, channels, size, DEEP, dropout)


@model
def alizadeh_shallow_hog(
    classes: int, channels: int, size: int, dropout: float = RATE, hog: int = FEATURES
) -> nn.Module:
    """The shallow network on images (N, channels, size, size) and their HOG features (N, hog)."""
    return _hybrid("alizadeh-shallow-hog", classes, channels, size, SHALLOW, dropout, hog)


@model
def alizadeh_deep_hog(classes: int, channels: int, size: int, dropout: float = RATE, hog: int = FEATURES) -> nn.Module:
    """The deep network on images (N, channels, size, size) and their HOG features (N, hog)."""
    return _hybrid("alizadeh-deep-hog", classes, channels, size, DEEP, dropout, hog)


class Hybrid(nn.Module):
    """`features` of the image, joined with its HOG features, under one `head`. `inputs` names the columns it reads."""

    inputs = ("image", "hog")

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    @property
    def trunk(self) -> nn.Sequential:
        """What reads the image alone."""
        return self.features

    def forward(self, images: Tensor, hog: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) and HOG features (N, D), 0 to 1."""
        return self.behind(self.features(images), hog)

    def behind(self, features: Tensor, hog: Tensor) -> Tensor:
        """Logits (N, classes) of the features (N, F) that the trunk makes of the image, and of HOG features (N, D)."""
        return self.head(torch.cat([features, hog], 1))


@dataclass(frozen=True)
class Block:
    """A word of the grammar: a convolution of `width` filters of kernel x kernel px, or (kernel 0) a dense layer."""

    width: int
    kernel: int
    extras: tuple[str, ...]  # of bn relu drop pool


def parse(layers: str) -> tuple[list[Block], list[Block]]:
    """The convolutions and the dense layers that `layers` spells. Raises UsageError: the bad part and the grammar."""
    try:
        return _parse(layers)
    except UsageError as error:
        raise UsageError(f"--layers: {error} ({GRAMMAR})") from None


def _parse(layers: str) -> tuple[list[Block], list[Block]]:
    words = layers.split()
    convolutions: list[Block] = []
    dense: list[Block] = []
    for word in words:
        block = _parse_block(word)
        if not block.kernel:
            dense.append(block)
        elif not dense:
            convolutions.append(block)
        else:
            raise UsageError(f"{word!r} stands behind {words[len(convolutions)]!r}, and convolutions come first")
    if not convolutions:
        raise UsageError(f"the layers {layers!r} have no convolution: begin with one such as conv32x3-relu")
    return convolutions, dense


def _parse_block(word: str) -> Block:
    first, *extras = word.split("-")
    found = re.fullmatch(r"conv([1-9][0-9]{0,3})x([0-9]{1,2})|fc([1-9][0-9]{0,4})", first)
    if not found:
        raise UsageError(f"{first!r} in {word!r} is no layer: type conv64x3 (filters x kernel) or fc512")
    filters, kernel, neurons = found.groups()
    if filters and int(kernel) % 2 == 0:  # no even kernel can keep the side
        raise UsageError(f"{first!r} in {word!r} has a kernel of {int(kernel)}, but it takes an odd one")
    order = ORDER["conv" if filters else "fc"]
    for extra in extras:
        if extra not in order:
            raise UsageError(f"{extra!r} in {word!r} is unknown; {nearest(extra, order)}")
    fitting = [extra for extra in order if extra in (*extras, "relu")]
    if extras != fitting:
        fault = "has parts twice or out of order" if "relu" in extras else "has no relu"
        raise UsageError(f"{word!r} {fault}: type {'-'.join((first, *fitting))}")
    return Block(int(filters or neurons), int(kernel or 0), tuple(extras))


def _hybrid(name: str, classes: int, channels: int, size: int, layers: str, dropout: float, hog: int) -> nn.Module:
    if hog < 1:
        raise UsageError(f"model {name} takes HOG features, not {hog} of them: add them with fer gradients --hog")
    return _network(name, classes, channels, size, layers, dropout, hog)


def _network(name: str, classes: int, channels: int, size: int, layers: str, dropout: float, hog: int = 0) -> nn.Module:
    convolutions, dense = parse(layers)
    pools = sum("pool" in block.extras for block in convolutions)
    check_size(name, size, 2**pools)
    features: OrderedDict[str, nn.Module] = OrderedDict()
    width = channels
    for number, block in enumerate(convolutions, start=1):
        conv = nn.Conv2d(width, block.width, block.kernel, padding=block.kernel // 2, bias="bn" not in block.extras)
        features[f"conv{number}"] = conv
        features |= _extras(block, number, nn.BatchNorm2d, dropout)
        width = block.width
    features["flatten"] = nn.Flatten()
    head: OrderedDict[str, nn.Module] = OrderedDict()
    width = width * (size // 2**pools) ** 2 + hog
    for number, block in enumerate(dense, start=1):
        head[f"fc{number}"] = nn.Linear(width, block.width, bias="bn" not in block.extras)
        head |= _extras(block, number, nn.BatchNorm1d, dropout)
        width = block.width
    head["output"] = nn.Linear(width, classes)
    parts = OrderedDict(features=nn.Sequential(features), head=nn.Sequential(head))
    return Hybrid(**parts) if hog else nn.Sequential(parts)


def _extras(block: Block, number: int, norm: type[nn.Module], dropout: float) -> "OrderedDict[str, nn.Module]":
    """What follows the layer of a block, in order."""
    makers = {
        "bn": lambda: norm(block.width),
        "relu": lambda: nn.ReLU(inplace=True),
        "drop": lambda: Dropout(dropout),
        "pool": lambda: nn.MaxPool2d(2),
    }
    return OrderedDict((f"{extra}{number}", makers[extra]()) for extra in block.extras)
