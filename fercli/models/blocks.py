"""What several families build with: the size check and the two kinds of normalised convolution."""

from collections import OrderedDict

from torch import nn

from ..errors import UsageError


def check_size(name: str, size: int, smallest: int) -> None:
    """Raises UsageError unless model `name`, which takes images of a side of `smallest` px or more, can take `size`."""
    if size < smallest:
        raise UsageError(f"model {name} takes images of {smallest}x{smallest} pixels or more, not {size}x{size}")


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int | None = None) -> nn.Module:
    """Convolution and batch normalisation: (N, inputs, H, W) to (N, outputs, H, W), divided by the stride, rounded up.

    `padding` None keeps the side; `kernel` is odd. The convolution has no bias, which the normalisation would undo.
    """
    padding = kernel // 2 if padding is None else padding
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
            norm=nn.BatchNorm2d(outputs),
        )
    )


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
