"""Networks in whole numbers of eight bits, on a CPU: the same answers but for rounding, in less time.

Maps are uint8 with one step and zero point for all channels, weights int8 with a step a filter (Jacob et al. 2018,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference", equation 1). No picture
is needed to tell how far the values of a map reach: behind a batch normalisation they lie around its shift, as wide as
its scale (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", section 5). So
the same model gives the same network, whatever it is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import UsageError
from ..models.blocks import ResidualUnit
from ..models.layers import Dropout
from .fuse import fold_norms
from .normalise import Normalise

#: How many deviations from its mean a value is told apart; those further out are cut off. Nagel et al. have 6. Of 4 to
#: 12, 8 moved the default model's probabilities least on 1,024 training pictures: by 0.0017, and by 0.047 at most.
REACH = 8.0
#: The largest weight. Without VNNI a CPU adds the products of two neighbours in 16 bits, where 2 * 255 * 64 still fits
#: and 2 * 255 * 127 does not; one with VNNI takes the same weights, so that all answer alike but for rounding.
LARGEST = 64


@dataclass(frozen=True)
class Maps:
    """What is known of maps: `mean` and `deviation` of each channel, (C,), before what is negative was `cut` off."""

    mean: Tensor
    deviation: Tensor
    cut: bool = False

    @property
    def code(self) -> tuple[float, int]:
        """Step and zero point of the uint8 that such maps are written in: value = step * (number - zero).

        0 is among the values, as convolutions pad with it.
        """
        low = 0.0 if self.cut else min(float((self.mean - REACH * self.deviation).min()), 0.0)
        high = max(float((self.mean + REACH * self.deviation).max()), 0.0)
        step = max((high - low) / 255, 1e-6)  # a normalisation may have learnt 0
        return step, round(-low / step)


def in_int8(network: nn.Module, normalise: Normalise, name: str) -> nn.Module:
    """A network that answers as `network`, in evaluation mode, its layers in int8 as far as they have such a form: the
    convolutions with their normalisations, residual units and poolings with which a chain begins. What follows is in
    float32. Takes what `normalise` makes of pixels.

    Raises UsageError for a network that forks or begins otherwise, that of the store `name`.
    """
    chain = list(_chain(network))
    maps = _pixels(normalise)
    layers: list[nn.Module] = [ToNumbers(maps.code)]
    while chain:
        if isinstance(chain[0], ResidualUnit):
            unit = Unit(chain.pop(0), maps)
            layers.append(unit)
            maps = unit.maps
        elif _is_normalised(chain):
            convolution, norm = chain.pop(0), chain.pop(0)
            made = _made_by(norm, cut=_is_cut(chain))
            layers.append(Convolution(convolution, norm, maps, made))
            maps = made
        elif isinstance(chain[0], nn.MaxPool2d) and len(layers) > 1:
            layers.append(Pooling(chain.pop(0)))
        elif isinstance(chain[0], nn.ReLU) and maps.cut:  # which is done already
            chain.pop(0)
        else:
            break
    if len(layers) == 1:
        raise UsageError(
            f"--precision int8 takes a network whose layers follow one another, convolutions and their batch "
            f"normalisations first, and that of {name} is none: leave --precision out"
        )
    return nn.Sequential(*layers, ToValues(maps.code), fold_norms(nn.Sequential(*chain)))


def _chain(network: nn.Module) -> Iterator[nn.Module]:
    """The layers of a network that follow one another, without those that do nothing in evaluation mode."""
    if type(network) is nn.Sequential:
        for layer in network:
            yield from _chain(layer)
    elif not isinstance(network, Dropout | nn.Identity):
        yield network


def _is_normalised(chain: list[nn.Module]) -> bool:
    """Whether a convolution and its normalisation come next, such as have a form in int8."""
    match chain:
        case [nn.Conv2d(padding_mode="zeros", padding=tuple()), nn.BatchNorm2d(affine=True), *_]:
            return True
    return False


def _is_cut(chain: list[nn.Module]) -> bool:
    """Whether a relu comes next, or behind a pooling, which keeps the order of values."""
    behind = next((layer for layer in chain if not isinstance(layer, nn.MaxPool2d)), None)
    return isinstance(behind, nn.ReLU)


def _pixels(normalise: Normalise) -> Maps:
    """The maps that are a network's input."""
    low, high = ((level - normalise.mean.flatten()) / normalise.deviation.flatten() for level in (0, 255))
    return Maps((low + high) / 2, (high - low) / 2 / REACH)


def _made_by(norm: nn.BatchNorm2d, cut: bool = False) -> Maps:
    """The maps that a normalisation makes."""
    return Maps(norm.bias.detach(), norm.weight.detach().abs(), cut)


class ToNumbers(nn.Module):
    """(N, C, H, W) float32 to the uint8 that stand for them."""

    def __init__(self, code: tuple[float, int]) -> None:
        super().__init__()
        self.step, self.zero = code

    def forward(self, values: Tensor) -> Tensor:
        """Those too small or too large become 0 or 255."""
        return (values / self.step).add_(self.zero).round_().clamp_(0, 255).to(torch.uint8)


class ToValues(nn.Module):
    """(N, C, H, W) uint8 to the float32 that they stand for."""

    def __init__(self, code: tuple[float, int]) -> None:
        super().__init__()
        self.step, self.zero = code

    def forward(self, numbers: Tensor) -> Tensor:
        """Exact."""
        return numbers.float().sub_(self.zero).mul_(self.step)


class Convolution(nn.Module):
    """A convolution with its normalisation, and a relu where the maps that it makes are cut: uint8 to uint8."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, read: Maps, made: Maps) -> None:
        super().__init__()
        folded = fuse_conv_bn_eval(convolution, norm)
        weight, self.bias = folded.weight.detach(), folded.bias.detach()
        self.steps = (weight.abs().amax((1, 2, 3)) / LARGEST).clamp_min(1e-8)  # (filters,); a filter may have learnt 0
        self.read, self.made, self.cut = read.code, made.code, made.cut
        self.form = [
            list(convolution.stride),
            list(convolution.padding),
            list(convolution.dilation),
            convolution.groups,
        ]
        whole = (weight / self.steps[:, None, None, None]).round().to(torch.int8)
        self.weight = torch.ops.onednn.qconv_prepack(whole, self.steps, *self.read, *self.form)
        self.zeros = torch.zeros(len(self.steps), dtype=torch.int32)

    def forward(self, numbers: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, filters, H', W'), channels last."""
        relu = "relu" if self.cut else "none"
        made = (*self.made, torch.uint8)
        return torch.ops.onednn.qconv2d_pointwise(*self._arguments(numbers), self.bias, *self.form, *made, relu, [], "")

    def plus(self, numbers: Tensor, beside: Tensor, code: tuple[float, int]) -> Tensor:
        """The sum with the maps `beside`, channels last and written by `code`, and its relu. It takes their place."""
        arguments = (*self._arguments(numbers), beside, self.bias, *self.form, *self.made, torch.uint8, *code)
        return torch.ops.onednn.qconv2d_pointwise.binary(*arguments, "sum", 1.0, "relu", [], "")

    def _arguments(self, numbers: Tensor) -> tuple:
        return numbers, *self.read, self.weight, self.steps, self.zeros


class Pooling(nn.Module):
    """A pooling of uint8, of which torch itself takes only small maps."""

    def __init__(self, pooling: nn.MaxPool2d) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, numbers: Tensor) -> Tensor:
        """Exact."""
        return self.pooling(numbers.float()).to(torch.uint8)


class Unit(nn.Module):
    """A `ResidualUnit`, uint8 to uint8."""

    def __init__(self, unit: ResidualUnit, read: Maps) -> None:
        super().__init__()
        middle, within = _made_by(unit.bn1, cut=True), _made_by(unit.bn2)
        beside = read if unit.downsample is None else _made_by(unit.downsample[1])
        spread = (within.deviation.square() + beside.deviation.square()).sqrt()  # as if the two did not go together
        mean = beside.mean.clamp_min(0) if beside.cut else beside.mean  # what is cut adds nothing negative
        self.maps = Maps(within.mean + mean, spread, cut=True)
        self.first = Convolution(unit.conv1, unit.bn1, read, middle)
        self.second = Convolution(unit.conv2, unit.bn2, middle, self.maps)
        self.shortcut = None if unit.downsample is None else Convolution(*unit.downsample, read, beside)
        self.beside = beside.code

    def forward(self, numbers: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up. What it is given may be changed."""
        beside = numbers if self.shortcut is None else self.shortcut(numbers)
        return self.second.plus(self.first(numbers), beside, self.beside)
