"""The network of Yengikand et al.: plain and separable convolutions, merged by two kinds of attention.

Six blocks with residual shortcuts, three of a convolution and a pooling and three of a separable convolution, give two
feature outputs: the maps of the last block of each kind. Additive attention (Bahdanau et al. 2015, Neural Machine
Translation by Jointly Learning to Align and Translate) and multiplicative attention (Luong et al. 2015, Effective
Approaches to Attention-based Neural Machine Translation) merge them, and a multilayer perceptron classifies.

Not stated, and so: the two kinds of block alternate, plain first, as a separable convolution of one gray channel would
give 64 copies of a single filter; widths 64, 128, 256; attention is over the 6x6 places of the maps, the separable maps
asking and the plain ones answering; what both attentions answer stands beside what was asked (Luong's equation 5), is
averaged over the places, and goes through one hidden layer of 256; dropout acts before and behind that layer.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from . import model
from .blocks import check_size, convolution, separable
from .layers import Dropout

SMALLEST = 8  # pixels: three poolings by 2
ALIGNMENT = 64  # width in which additive attention compares two places


@model
def yengikand(classes: int, channels: int, size: int, dropout: float = 0.2) -> nn.Module:
    """The network of Yengikand et al. `dropout` is both rates; the paper searches them in 0.1, 0.2, 0.3."""
    check_size("yengikand", size, SMALLEST)
    return Yengikand(classes, channels, dropout)


class Yengikand(nn.Module):
    """Six blocks, two attentions, a perceptron. Shapes are those of 48x48 images."""

    def __init__(self, classes: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            OrderedDict(
                conv1=ConvolutionBlock(channels, 64),  # (N, 64, 24, 24)
                separable1=SeparableBlock(64),  # (N, 64, 24, 24)
                conv2=ConvolutionBlock(64, 128),  # (N, 128, 12, 12)
                separable2=SeparableBlock(128),  # (N, 128, 12, 12)
            )
        )
        self.conv3 = ConvolutionBlock(128, 256)  # (N, 256, 6, 6)
        self.separable3 = SeparableBlock(256)  # (N, 256, 6, 6)
        self.additive = AdditiveAttention(256, ALIGNMENT)
        self.multiplicative = MultiplicativeAttention(256)
        self.perceptron = nn.Sequential(
            OrderedDict(
                dropout1=Dropout(dropout),
                dense1=nn.Linear(3 * 256, 256),  # (N, 256)
                relu1=nn.ReLU(inplace=True),
                dropout2=Dropout(dropout),
                dense2=nn.Linear(256, classes),  # (N, 7)
            )
        )

    @property
    def trunk(self) -> nn.Sequential:
        """The blocks up to the first feature output."""
        return nn.Sequential(self.blocks, self.conv3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        return self.behind(self.conv3(self.blocks(images)))

    def behind(self, plain: Tensor) -> Tensor:
        """Logits (N, classes) of the first feature output (N, 256, 6, 6)."""
        answers = plain.flatten(2).transpose(1, 2)  # (N, 36, 256)
        queries = self.separable3(plain).flatten(2).transpose(1, 2)  # (N, 36, 256)
        merged = torch.cat(  # (N, 36, 768)
            [queries, self.additive(queries, answers), self.multiplicative(queries, answers)], 2
        )
        return self.perceptron(merged.mean(1))


class AdditiveAttention(nn.Module):
    """What each place asks for, found by Bahdanau et al. 2015: e_ij = v . tanh(W s_i + U h_j) (appendix A.1.2).

    The weights are the softmax of e_ij over j (equation 6), the answer their mean of h_j (equation 5).
    """

    def __init__(self, features: int, alignment: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, alignment, bias=False)  # W
        self.key = nn.Linear(features, alignment, bias=False)  # U
        self.score = nn.Linear(alignment, 1, bias=False)  # v

    def forward(self, queries: Tensor, answers: Tensor) -> Tensor:
        """(N, Q, D) for the places s (N, Q, D) that ask and the places h (N, K, D) that answer."""
        sums = self.query(queries).unsqueeze(2) + self.key(answers).unsqueeze(1)  # (N, Q, K, alignment)
        scores = self.score(sums.tanh()).squeeze(3)  # (N, Q, K)
        return scores.softmax(2) @ answers


class MultiplicativeAttention(nn.Module):
    """What each place asks for, found by Luong et al. 2015: e_ij = s_i . W h_j (equation 8, "general").

    The weights are the softmax of e_ij over j (equation 7), the answer their mean of h_j.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.key = nn.Linear(features, features, bias=False)  # W

    def forward(self, queries: Tensor, answers: Tensor) -> Tensor:
        """(N, Q, D) for the places s (N, Q, D) that ask and the places h (N, K, D) that answer."""
        scores = queries @ self.key(answers).transpose(1, 2)  # (N, Q, K)
        return scores.softmax(2) @ answers


class ConvolutionBlock(nn.Module):
    """A 3x3 convolution with batch normalisation and a pooling by 2, beside a shortcut by a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = convolution(inputs, outputs)
        self.pool = nn.MaxPool2d(3, 2, padding=1)  # of the places that the shortcut reads and their neighbours
        self.shortcut = convolution(inputs, outputs, 1, stride=2)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / 2, W / 2), rounded up."""
        return self.relu(self.pool(self.body(maps)) + self.shortcut(maps))


class SeparableBlock(nn.Module):
    """A separable 3x3 convolution with batch normalisation beside an identity shortcut."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = separable(features, features)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, features, H, W) to the same shape."""
        return self.relu(self.body(maps) + maps)
