"""The three networks of MTCNN (Zhang et al. 2016), and the first of them rearranged so that a processor is quick at it.

All take float pixels of 0 to 255 in RGB, (N, 3, H, W), and answer with logits: the second less the first is that of a
face. Boxes are offsets of the window's left, top, right and bottom edge in shares of its size.
"""

import copy

import torch
from torch import Tensor, nn


def _convolved(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel), nn.PReLU(outputs)]


def _pool(kernel: int) -> nn.Module:
    return nn.MaxPool2d(kernel, 2, ceil_mode=True)


def _normalised(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) / 128


class ProposalNet(nn.Module):
    """P-Net: each window of 12 px, at every second px. (N, 3, H, W) to face (N, 2, H', W') and box (N, 4, H', W')."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolved(3, 10, 3), _pool(2), *_convolved(10, 16, 3), *_convolved(16, 32, 3))
        self.face, self.box = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.body(_normalised(pixels))
        return self.face(seen), self.box(seen)


class _WindowNet(nn.Module):
    """What R-Net and O-Net share: convolutions, then a dense layer, whose input is ordered by column, row, channel."""

    body: nn.Sequential
    dense: nn.Sequential

    def _seen(self, pixels: Tensor) -> Tensor:
        return self.dense(self.body(_normalised(pixels)).permute(0, 3, 2, 1).flatten(1))


class RefineNet(_WindowNet):
    """R-Net: windows resized to 24 px. (N, 3, 24, 24) to face (N, 2) and box (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolved(3, 28, 3), _pool(3), *_convolved(28, 48, 3), _pool(3), *_convolved(48, 64, 2)
        )
        self.dense = nn.Sequential(nn.Linear(64 * 3 * 3, 128), nn.PReLU(128))
        self.face, self.box = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        seen = self._seen(pixels)
        return self.face(seen), self.box(seen)


class OutputNet(_WindowNet):
    """O-Net: windows resized to 48 px. (N, 3, 48, 48) to face (N, 2), box (N, 4) and landmarks (N, 10): five x, then
    five y, in shares of the window.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolved(3, 32, 3), _pool(3), *_convolved(32, 64, 3), _pool(3), *_convolved(64, 64, 3), _pool(2),
            *_convolved(64, 128, 2),
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Linear(128 * 3 * 3, 256), nn.PReLU(256))
        self.face, self.box, self.landmark = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self._seen(pixels)
        return self.face(seen), self.box(seen), self.landmark(seen)


class Cascade(nn.Module):
    """The three, as their weights are stored."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = ProposalNet(), RefineNet(), OutputNet()


class FastProposalNet(nn.Module):
    """P-Net with the same answers in a third of the time: most of it goes into the first convolution's activation.

    The pixels' normalisation is part of the first convolution. PReLU comes after the pooling, on a quarter of the
    values. That is the same where its slope a is not negative, as it rises there; where it is, max(y, ay) has its
    greatest value at the greatest y or the greatest ay, so the convolution gives ay too and both are pooled.
    """

    def __init__(self, plain: ProposalNet) -> None:
        super().__init__()
        conv1, prelu1, _, conv2, *rest = copy.deepcopy(plain.body)
        self.prelu2, self.conv3, self.prelu3 = rest
        slope = prelu1.weight
        falling, rising = (slope < 0).nonzero()[:, 0], (slope >= 0).nonzero()[:, 0]
        order = torch.cat([falling, rising])
        source = torch.cat([order, falling])  # channel of the plain network
        factor = torch.cat([torch.ones(len(order)), slope[falling]])
        weight = nn.functional.pad(conv1.weight / 128, (0, 0, 0, 0, 0, 1))  # 0 for the fourth channel
        bias = conv1.bias - conv1.weight.sum(dim=(1, 2, 3)) * (127.5 / 128)
        self.conv1 = _convolution(weight[source] * factor[:, None, None, None], bias[source] * factor)
        self.slope = nn.Parameter(slope[rising])
        self.conv2 = _convolution(conv2.weight[:, order], conv2.bias)
        self.face = nn.Parameter(plain.face.weight[:, :, 0, 0].diff(dim=0)[0])  # the second logit less the first
        self.face_bias = nn.Parameter(plain.face.bias.diff()[0])
        self.box = nn.Linear(*plain.box.weight.shape[1::-1])
        self.box.weight = nn.Parameter(plain.box.weight[:, :, 0, 0].clone())
        self.box.bias = nn.Parameter(plain.box.bias.clone())
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(4, H, W), H and W even, the last channel idle, to the face logit (h, w) and what `box` takes (h, w, 32).

        h is (H - 10) / 2, and so is w. `box` makes the offsets (n, 4) of some of the latter (n, 32).
        """
        seen = self.conv1(pixels[None])
        seen = torch.maximum(seen[:, :, ::2], seen[:, :, 1::2])
        seen = torch.maximum(seen[..., ::2], seen[..., 1::2])
        count, falling = self.conv2.in_channels, self.conv2.in_channels - len(self.slope)
        folded = torch.maximum(seen[:, :falling], seen[:, count:])
        seen = torch.cat([folded, nn.functional.prelu(seen[:, falling:count], self.slope)], dim=1)
        seen = self.prelu3(self.conv3(self.prelu2(self.conv2(seen))))[0].permute(1, 2, 0)
        return (seen.reshape(-1, len(self.face)) @ self.face + self.face_bias).view(seen.shape[:2]), seen


def _convolution(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    made = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2])
    made.weight, made.bias = nn.Parameter(weight), nn.Parameter(bias)
    return made
