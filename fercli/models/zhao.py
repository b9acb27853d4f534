"""The four networks that Zhao et al. compare on FER2013: plain, VGG-like, residual and depthwise separable.

Convolutions start from N(0, 0.04). 0.04 is taken as the standard deviation: He's rule, sqrt(2 / fan-in), gives 0.059
behind 64 maps of 3x3 and 0.042 behind 128, where a variance of 0.04 would mean a deviation of 0.2, five times as much.
Where batch normalisation follows, the first outputs are the same, but Adam turns weights of 0.2 five times as slowly;
where none does, in the head of the separable network, the first loss on FER2013 is 2.3 with 0.04 and 6.3 with 0.2.

Not stated, and so: convolutions pad to keep the side; those before a batch normalisation have no bias, which it would
undo; the dense layers have ReLUs between them and start as torch starts them.
"""

from collections import OrderedDict
from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from . import model
from .blocks import ResidualUnit, SideBySide, check_size, convolution, separable
from .layers import Dropout

DEVIATION = 0.04
SMALLEST = 8  # pixels: three poolings by 2
RESNET_SMALLEST = 17  # pixels: 9, 5, 5, 3, 2, 1: below it the last set convolves single pixels
SEPARABLE_SMALLEST = 20  # pixels: 18, 16, 8, 4, 2, 1


@model
def zhao_cnn(classes: int, channels: int, size: int, dropout: float | None = None) -> nn.Module:
    """Three convolutions. `dropout` sets both rates; None keeps 0.2 behind them, 0.5 behind the first dense layer."""
    check_size("zhao-cnn", size, SMALLEST)
    light, heavy = (0.2, 0.5) if dropout is None else (dropout, dropout)
    side = size // 8
    layers = OrderedDict(
        block1=_pooled(channels, 64),  # (N, 64, 24, 24)
        block2=_pooled(64, 128),  # (N, 128, 12, 12)
        block3=_pooled(128, 256),  # (N, 256, 6, 6)
        flatten=nn.Flatten(),  # (N, 9216)
        dropout3=Dropout(light),
        dense4=nn.Linear(256 * side * side, 4096),  # (N, 4096)
        relu4=nn.ReLU(inplace=True),
        dropout4=Dropout(heavy),
        dense5=nn.Linear(4096, 1024),  # (N, 1024)
        relu5=nn.ReLU(inplace=True),
        dense6=nn.Linear(1024, 256),  # (N, 256)
        relu6=nn.ReLU(inplace=True),
        dense7=nn.Linear(256, classes),  # (N, 7)
    )
    return nn.Sequential(layers).apply(_draw)


@model
def zhao_vgg(classes: int, channels: int, size: int, dropout: float = 0.5) -> nn.Module:
    """Blocks of two, three and three convolutions. `dropout` is the rate between them and the dense layers."""
    check_size("zhao-vgg", size, SMALLEST)
    side = size // 8
    layers = OrderedDict(
        block1=_pooled(channels, 32, 32),  # (N, 32, 24, 24)
        block2=_pooled(32, 64, 64, 64),  # (N, 64, 12, 12)
        block3=_pooled(64, 128, 128, 128),  # (N, 128, 6, 6)
        flatten=nn.Flatten(),  # (N, 4608)
        dropout3=Dropout(dropout),
        dense4=nn.Linear(128 * side * side, 4096),  # (N, 4096)
        relu4=nn.ReLU(inplace=True),
        dense5=nn.Linear(4096, 4096),  # (N, 4096)
        relu5=nn.ReLU(inplace=True),
        dense6=nn.Linear(4096, 1024),  # (N, 1024)
        relu6=nn.ReLU(inplace=True),
        dense7=nn.Linear(1024, 256),  # (N, 256)
        relu7=nn.ReLU(inplace=True),
        dense8=nn.Linear(256, classes),  # (N, 7)
    )
    return nn.Sequential(layers).apply(_draw)


@model
def zhao_resnet(classes: int, channels: int, size: int) -> nn.Module:
    """The residual network of 18 layers (He et al. 2016, table 1), its weights named as torchvision names them.

    The stem's stride is not stated; it is 2, as in He's.
    """
    check_size("zhao-resnet", size, RESNET_SMALLEST)
    layers = OrderedDict(
        conv1=nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False),  # (N, 64, 24, 24)
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, 2, padding=1),  # (N, 64, 12, 12)
        layer1=nn.Sequential(ResidualUnit(64, 64, 1), ResidualUnit(64, 64, 1)),  # (N, 64, 12, 12)
        layer2=nn.Sequential(ResidualUnit(64, 128, 2), ResidualUnit(128, 128, 1)),  # (N, 128, 6, 6)
        layer3=nn.Sequential(ResidualUnit(128, 256, 2), ResidualUnit(256, 256, 1)),  # (N, 256, 3, 3)
        layer4=nn.Sequential(ResidualUnit(256, 512, 2), ResidualUnit(512, 512, 1)),  # (N, 512, 2, 2)
        avgpool=nn.AdaptiveAvgPool2d(1),  # (N, 512, 1, 1)
        flatten=nn.Flatten(),  # (N, 512)
        fc=nn.Linear(512, classes),  # (N, 7)
    )
    return nn.Sequential(layers).apply(_draw)


@model
def zhao_separable(classes: int, channels: int, size: int, heads: Mapping[str, int] | None = None) -> nn.Module:
    """The depthwise separable network: a `trunk`, and the `head` that reads the expression from its maps.

    Each of `heads` stands beside that head as `head_NAME`, of its own width. The layers are not stated; they are those
    of mini-Xception (Arriaga et al. 2017, Real-time Convolutional Neural Networks for Emotion and Gender
    Classification; 58,423 numbers for gray images and 7 classes).
    """
    check_size("zhao-separable", size, SEPARABLE_SMALLEST)
    trunk = OrderedDict(
        stem1=convolution(channels, 8, padding=0),  # (N, 8, 46, 46)
        relu1=nn.ReLU(inplace=True),
        stem2=convolution(8, 8, padding=0),  # (N, 8, 44, 44)
        relu2=nn.ReLU(inplace=True),
        module1=SeparableModule(8, 16),  # (N, 16, 22, 22)
        module2=SeparableModule(16, 32),  # (N, 32, 11, 11)
        module3=SeparableModule(32, 64),  # (N, 64, 6, 6)
        module4=SeparableModule(64, 128),  # (N, 128, 3, 3)
    )
    if heads:
        further = {name: _separable_head(width) for name, width in heads.items()}
        return SideBySide(nn.Sequential(trunk), _separable_head(classes), further).apply(_draw)
    return nn.Sequential(OrderedDict(trunk=nn.Sequential(trunk), head=_separable_head(classes))).apply(_draw)


def _separable_head(classes: int) -> nn.Module:
    layers = OrderedDict(
        conv=nn.Conv2d(128, classes, 3, padding=1),  # (N, 7, 3, 3)
        pool=nn.AdaptiveAvgPool2d(1),  # (N, 7, 1, 1)
        flatten=nn.Flatten(),  # (N, 7)
    )
    return nn.Sequential(layers)


class SeparableModule(nn.Module):
    """Two separable convolutions and a pooling, beside a shortcut by a 1x1 convolution (Arriaga et al. 2017)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            OrderedDict(
                separable1=separable(inputs, outputs),
                relu=nn.ReLU(inplace=True),
                separable2=separable(outputs, outputs),
                pool=nn.MaxPool2d(3, 2, padding=1),
            )
        )
        self.shortcut = convolution(inputs, outputs, 1, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / 2, W / 2), rounded up."""
        return self.body(maps) + self.shortcut(maps)


def _pooled(*widths: int) -> nn.Module:
    """Normalised 3x3 convolutions, from each width to the next, and a pooling: (N, C, H, W) to (N, D, H / 2, W / 2)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        layers[f"conv{number}"] = convolution(inputs, outputs)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
    layers["pool"] = nn.MaxPool2d(2)
    # behind the pooling, as both keep the order: same values, a quarter of the work
    layers.move_to_end(f"relu{number}")
    return nn.Sequential(layers)


def _draw(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:  # for shapes alone torch loads its compiler, 1 s
        nn.init.normal_(layer.weight, 0, DEVIATION)
