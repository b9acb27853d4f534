"""AlexNet as Falahzadeh et al. 2021 lay it out (Table 1), and the AlexNet whose ImageNet weights are published.

Falahzadeh, Farokhi, Harimi, Sabbaghi-Nadooshan: Facial Expression Recognition based on Image Gradient and Deep
Convolutional Neural Network, Journal of AI and Data Mining 9(2), 2021. The widths are those of Krizhevsky et al. 2012.
"""

from collections import OrderedDict

from torch import nn

from ..errors import UsageError
from ..spec import nearest
from . import model
from .blocks import check_size
from .layers import Dropout

HEADS = ("fc", "dense")
SMALLEST = 67  # pixels: conv1 15, pool1 7, pool2 3, pool5 1
TORCHVISION_SMALLEST = 63  # pixels, as its first convolution pads by 2


@model
def alexnet(classes: int, channels: int, size: int, dropout: float = 0.5, head: str = "fc") -> nn.Module:
    """AlexNet of Table 1. `dropout` is the rate behind the first dense layer.

    `head` "fc" is three fully connected layers, "dense" one dense layer on the flattened maps: the paper tells both.
    Other sides than 227 px give maps of another side, and the first dense layer as many inputs as they have. Local
    response normalisation and the grouping of conv2, 4 and 5 over two GPUs are in Krizhevsky's network; Table 1 does
    not list them (not stated), and they are left out.
    """
    check_size("alexnet", size, SMALLEST)
    side = (size - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    layers = OrderedDict(
        conv1=nn.Conv2d(channels, 96, 11, stride=4),  # (N, 96, 55, 55)
        pool1=nn.MaxPool2d(3, 2),  # (N, 96, 27, 27)
        relu1=nn.ReLU(inplace=True),  # behind the pooling, as both keep the order: same values, a quarter of the work
        conv2=nn.Conv2d(96, 256, 5, padding=2),  # (N, 256, 27, 27)
        pool2=nn.MaxPool2d(3, 2),  # (N, 256, 13, 13)
        relu2=nn.ReLU(inplace=True),
        conv3=nn.Conv2d(256, 384, 3, padding=1),  # (N, 384, 13, 13)
        relu3=nn.ReLU(inplace=True),
        conv4=nn.Conv2d(384, 384, 3, padding=1),  # (N, 384, 13, 13)
        relu4=nn.ReLU(inplace=True),
        conv5=nn.Conv2d(384, 256, 3, padding=1),  # (N, 256, 13, 13)
        pool5=nn.MaxPool2d(3, 2),  # (N, 256, 6, 6)
        relu5=nn.ReLU(inplace=True),
        flatten=nn.Flatten(),  # (N, 9216)
    )
    return nn.Sequential(layers | _head("alexnet", head, 256 * side * side, classes, dropout))


@model
def alexnet_torchvision(classes: int, channels: int, size: int, dropout: float = 0.5, head: str = "fc") -> nn.Module:
    """AlexNet of torchvision (after Krizhevsky 2014, One weird trick), weight for weight.

    With `head` "fc" its state dict has the names and shapes of `torchvision.models.alexnet`, whose ImageNet weights
    therefore load. They are for red, green and blue from 0 to 1, less (0.485, 0.456, 0.406), over (0.229, 0.224,
    0.225). Images of every side give 6x6 maps. `dropout` is the rate before each of the first two dense layers.
    """
    check_size("alexnet-torchvision", size, TORCHVISION_SMALLEST)
    features = nn.Sequential(
        nn.Conv2d(channels, 64, 11, stride=4, padding=2),  # 0: (N, 64, 56, 56) of 227x227
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),  # (N, 64, 27, 27)
        nn.Conv2d(64, 192, 5, padding=2),  # 3: (N, 192, 27, 27)
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),  # (N, 192, 13, 13)
        nn.Conv2d(192, 384, 3, padding=1),  # 6: (N, 384, 13, 13)
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),  # 8: (N, 256, 13, 13)
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),  # 10: (N, 256, 13, 13)
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),  # (N, 256, 6, 6)
    )
    if head == "fc":
        classifier = nn.Sequential(
            Dropout(dropout),
            nn.Linear(9216, 4096),  # 1
            nn.ReLU(inplace=True),
            Dropout(dropout),
            nn.Linear(4096, 4096),  # 4
            nn.ReLU(inplace=True),
            nn.Linear(4096, classes),  # 6
        )
    else:
        classifier = nn.Sequential(_head("alexnet-torchvision", head, 9216, classes, dropout))
    return nn.Sequential(
        OrderedDict(
            features=features,
            avgpool=nn.AdaptiveAvgPool2d(6),  # (N, 256, 6, 6)
            flatten=nn.Flatten(),  # (N, 9216)
            classifier=classifier,
        )
    )


def _head(name: str, head: str, features: int, classes: int, dropout: float) -> "OrderedDict[str, nn.Module]":
    """The layers from (N, features) to logits (N, classes)."""
    if head == "dense":  # no fully connected layer is left to drop from, so its dropout acts on what the last one reads
        return OrderedDict(dropout=Dropout(dropout), dense=nn.Linear(features, classes))
    if head != "fc":
        raise UsageError(f"model {name} has no head {head!r}; {nearest(head, HEADS)}")
    return OrderedDict(
        fc6=nn.Linear(features, 4096),  # (N, 4096)
        relu6=nn.ReLU(inplace=True),
        dropout6=Dropout(dropout),
        fc7=nn.Linear(4096, 4096),  # (N, 4096)
        relu7=nn.ReLU(inplace=True),
        fc8=nn.Linear(4096, classes),  # (N, 7)
    )
