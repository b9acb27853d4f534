"""A step that several processes share, so that it is that of the whole batch: its rows, its loss, its normalisations.

Each process computes with its own rows. The losses of the processes sum to the loss of the batch, and so do their
gradients (`ranks.sum_gradients`).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import ranks


def places(rows: int, device: torch.device) -> Tensor:
    """(n,) int64: the places in a step of `rows` rows that are this process's.

    A row and the one as far from the other end belong together, as `Mix` blends them: reversed, the rows of one process
    meet the same partners as in the whole.
    """
    if ranks.size() == 1:
        return torch.arange(rows, device=device)
    pairs = ranks.part((rows + 1) // 2)
    front = torch.arange(pairs.start, pairs.stop, device=device)
    alone = pairs.stop > rows // 2  # the row in the middle of an odd number
    return torch.cat([front, (rows - 1 - front[: len(front) - alone]).flip(0)])


class SharedLoss(nn.Module):
    """`nn.CrossEntropyLoss` as this process's part of its value for the whole batch.

    weight (K,): of the classes, as there.
    """

    def __init__(self, weight: Tensor | None, smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self._smoothing = smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The part, of logits (B, K) and labels (B,) or shares of the classes (B, K)."""
        loss = functional.cross_entropy(
            logits, targets, self.weight, reduction="sum", label_smoothing=self._smoothing
        )  # fmt: skip
        weighed = self.weight is not None and not targets.is_floating_point()
        counts = self.weight[targets] if weighed else torch.ones(len(targets), device=logits.device)
        return loss / ranks.total(counts.sum())


def share_of_mean(mean: Tensor, rows: int) -> Tensor:
    """This process's part of the mean over the whole batch, from the `mean` over its own `rows`."""
    if ranks.size() == 1:
        return mean
    count = torch.full((), float(rows), device=mean.device)
    return mean * (count / ranks.total(count))


class _Sum(torch.autograd.Function):
    """`ranks.total` with gradients."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return ranks.total(values)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return ranks.total(gradient)


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of (B, C) or (B, C, H, W) by the mean and variance of the rows of all processes."""

    def forward(self, values: Tensor) -> Tensor:
        """The normalised values; in evaluation by what was learnt, as ever."""
        if not self.training:
            return functional.batch_norm(
                values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        wide = values.float()
        others = [axis for axis in range(wide.ndim) if axis != 1]
        shape = [1, -1] + [1] * (wide.ndim - 2)
        count = ranks.total(torch.full((), float(wide.numel() // wide.shape[1]), device=wide.device))
        mean = _Sum.apply(wide.sum(others)) / count
        centred = wide - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(others)) / count  # of deviations: a difference of squares cancels
        self._learn(mean.detach(), variance.detach() * (count / (count - 1)))
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(values.dtype)

    @torch.no_grad()
    def _learn(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked += 1


def answered(answer: Callable[[slice], np.ndarray], rows: int) -> np.ndarray:
    """What `answer` makes of all rows (N, ...), of which each process makes a part, where there are enough of them."""
    if ranks.size() == 1 or rows < ranks.size():
        return answer(slice(0, rows))
    mine = ranks.part(rows)
    values = torch.from_numpy(answer(slice(mine.start, mine.stop)))
    whole = torch.zeros((rows, *values.shape[1:]), dtype=values.dtype)
    whole[mine.start : mine.stop] = values
    return ranks.total(whole).numpy()


def share_norms(network: nn.Module) -> nn.Module:
    """`network` with normalisations over the rows of all processes, if there are several, in the place of its own."""
    if ranks.size() == 1:
        return network
    for parent in list(network.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum)
                shared.load_state_dict(norm.state_dict())
                setattr(parent, name, shared)
    return network
