"""Layers that the families share."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout` with masks that are cheap on a CPU: 16 random bits an element instead of a whole draw.

    torch draws one number an element there, one after the other, which takes a third of the time of a bfloat16 step of
    the njoku network. The rate is met to 2^-17.
    """

    def forward(self, values: Tensor) -> Tensor:
        """`values` of any shape, each zero with probability p and else divided by 1 - p; unchanged in evaluation."""
        if not self.training or not 0 < self.p < 1 or values.device.type != "cpu":
            return super().forward(values)
        words = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: values.numel()]  # uniform in -2^15 .. 2^15 - 1
        kept = bits >= round(self.p * 2**16) - 2**15
        mask = torch.empty_like(values).copy_(kept.view(values.shape)).div_(1 - self.p)
        return values * mask
