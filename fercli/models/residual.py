"""Residual networks for small gray faces, of our own: what the models that come with the package are made of.

A 3x3 stem at full resolution, then stages of residual units (He et al. 2016), each of which halves the side, a global
average and one dense layer. In faces of 48x48 the eyes and the mouth are a few pixels wide, so nothing is pooled before
the first stage. Shapes in the comments are those of 48x48 images.
"""

from collections import OrderedDict
from itertools import pairwise

from torch import nn

from . import model
from .blocks import ResidualUnit, check_size, convolution
from .layers import Dropout


@model
def residual_fast(classes: int, channels: int, size: int, dropout: float = 0.2) -> nn.Module:
    """Four stages of 32, 64, 128 and 256 maps: 1.5 M numbers, 44 M multiplications a face.

    Most of them are where maps are small and many, which a CPU is quickest at.
    """
    return _network("residual-fast", classes, channels, size, 16, ((32, 1), (64, 1), (128, 2), (256, 1)), dropout)


@model
def residual_small(classes: int, channels: int, size: int, dropout: float = 0.2) -> nn.Module:
    """Four stages of 32, 64, 128 and 192 maps: 1.3 M numbers, 65 M multiplications a face."""
    return _network("residual-small", classes, channels, size, 32, ((32, 2), (64, 2), (128, 2), (192, 1)), dropout)


@model
def residual(classes: int, channels: int, size: int, dropout: float = 0.2) -> nn.Module:
    """Three stages of 64, 128 and 224 maps: 2.3 M numbers, 211 M multiplications a face."""
    return _network("residual", classes, channels, size, 32, ((64, 2), (128, 2), (224, 2)), dropout)


@model
def residual_large(classes: int, channels: int, size: int, dropout: float = 0.2) -> nn.Module:
    """Three stages of 96, 192 and 384 maps: 6.2 M numbers, 511 M multiplications a face; it teaches the others."""
    return _network("residual-large", classes, channels, size, 48, ((96, 2), (192, 2), (384, 2)), dropout)


def _network(
    name: str, classes: int, channels: int, size: int, stem: int, stages: tuple[tuple[int, int], ...], dropout: float
) -> nn.Module:
    """`stages` are pairs of maps and residual units."""
    check_size(name, size, 2 ** len(stages))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = convolution(channels, stem)  # (N, stem, 48, 48)
    layers["relu"] = nn.ReLU(inplace=True)
    widths = [stem, *(width for width, _ in stages)]
    for number, ((inputs, outputs), (_, units)) in enumerate(zip(pairwise(widths), stages, strict=True), start=1):
        first, others = ResidualUnit(inputs, outputs, 2), [ResidualUnit(outputs, outputs, 1) for _ in range(units - 1)]
        layers[f"stage{number}"] = nn.Sequential(first, *others)  # (N, outputs, 24, 24), then 12x12, 6x6, 3x3
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = Dropout(dropout)
    layers["dense"] = nn.Linear(widths[-1], classes)
    # Units that begin as their shortcuts (Goyal et al. 2017) are no better here and learn nothing for some epochs.
    for layer in nn.Sequential(layers).modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:  # for shapes alone torch loads its compiler, 1 s
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layers)
