"""What several families build with: the size check, two kinds of normalised convolution, units, and heads."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import UsageError


def check_size(name: str, size: int, smallest: int) -> None:
    """Raises UsageError unless model `name`, which takes images of a side of `smallest` px or more, can take `size`."""
    if size < smallest:
        raise UsageError(
            f"model {name} takes images of {smallest}x{smallest} pixels or more, not {size}x{size}: "
            f"resize them, before any fer gradients, with fer detect --detector none --size {smallest}"
        )


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int | None = None) -> nn.Module:
    """Convolution and batch normalisation: (N, inputs, H, W) to (N, outputs, H, W), divided by the stride, rounded up.

    `padding` None keeps the side; `kernel` is odd. The convolution has no bias, which the normalisation would undo.
    """
    padding = kernel // 2 if padding is None else padding
    first = {}
    if kernel == 1 and stride > 1:
        # Picks what the stride would. On a CPU, the gradient of a strided 1x1 convolution of fewer than 16 channels
        # writes beyond its memory, and with 16 threads it crashes: https://github.com/uxlfoundation/oneDNN/issues/6035
        first, stride = {"pick": nn.MaxPool2d(1, stride)}, 1
    layers = OrderedDict(
        **first,
        conv=nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        norm=nn.BatchNorm2d(outputs),
    )
    return nn.Sequential(layers)


def separable(inputs: int, outputs: int) -> nn.Module:
    """Depthwise separable 3x3 convolution and batch normalisation: (N, inputs, H, W) to (N, outputs, H, W).

    A 3x3 filter for each input map alone, then a 1x1 convolution that mixes the maps, with nothing between the two
    (Chollet 2017, Xception, sections 1.2 and 4.7).
    """
    return nn.Sequential(
        OrderedDict(
            depthwise=nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            pointwise=nn.Conv2d(inputs, outputs, 1, bias=False),
            norm=nn.BatchNorm2d(outputs),
        )
    )


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, equations 1 and 2): relu(f(x) + x).

    Where the shape changes, the shortcut is a 1x1 convolution (their option B).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        maps = self.relu(self.bn1(self.conv1(maps)))
        return self.relu(self.bn2(self.conv2(maps)) + shortcut)


class SideBySide(nn.Module):
    """A `trunk` and several heads that read its maps: `head`, and beside it a `head_NAME` for each of `further`."""

    def __init__(self, trunk: nn.Sequential, head: nn.Module, further: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self._further = [f"head_{name}" for name in further]
        for name, module in zip(self._further, further.values(), strict=True):
            self.add_module(name, module)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to the logits of the heads one after the other, (N, sum of their widths)."""
        return self.behind(self.trunk(images))

    def behind(self, maps: Tensor) -> Tensor:
        """The maps that the trunk makes, to the same."""
        return torch.cat([getattr(self, name)(maps) for name in ("head", *self._further)], dim=1)
