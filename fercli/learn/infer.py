"""Probabilities of faces under a network: no dropout, no randomness."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .inputs import Inputs, answer

#: Rows a forward pass, by kind of device. On a CPU more of them only leave its caches; a GPU is not filled by fewer.
BATCH = {"cpu": 64, "cuda": 1024}


@torch.inference_mode()
def log_probabilities(
    network: nn.Module,
    normalise: Callable[[Tensor], Tensor],
    inputs: Inputs,
    batch: int | None = None,
    temperature: float = 1.0,
    widths: Sequence[int] = (),
    part: slice = slice(None),
) -> np.ndarray:
    """(N, K) float32, natural logarithms of the class probabilities of N rows, from logits divided by `temperature`.

    Of a network with several heads, `widths` tell the classes of each: (N, sum of the widths), head by head. Only the
    first is divided. Of the rows only a `part` is answered.
    Runs where `network` is, which is left in evaluation mode. The last bits of a row may differ with the number of rows
    it runs beside, since libraries choose their kernels by it.
    """
    logits = torch.cat(list(answers_of(network, normalise, inputs, batch, part))).float()
    first, *further = logits.split(list(widths), dim=1) if widths else (logits,)
    parts = [first / temperature, *further]
    return torch.cat([part.log_softmax(1) for part in parts], dim=1).cpu().numpy()


def answers_of(
    network: nn.Module,
    normalise: Callable[[Tensor], Tensor],
    inputs: Inputs,
    batch: int | None = None,
    part: slice = slice(None),
) -> Iterator[Tensor]:
    """What `network` makes of a `part` of the rows, in order and `batch` at a time, on its device.

    Where no `batch` is given it is BATCH, and half of that as often as a GPU's memory is full.
    """
    network.eval()
    device = next(network.parameters()).device
    count = batch or BATCH[device.type]
    start, stop, _ = part.indices(len(inputs[0]))
    while start < stop:
        rows = slice(start, min(start + count, stop))
        try:
            answered = answer(network, normalise, [torch.as_tensor(values[rows]).to(device) for values in inputs])
        except torch.OutOfMemoryError:
            count = (rows.stop - rows.start) // 2
            if batch or not count:
                raise
            continue
        yield answered
        start = rows.stop


def loss_and_accuracy(log_probability: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy (nats) and share of right answers, from (N, K) log-probabilities and (N,) labels, -1 for rows
    that do not count.
    """
    known = labels >= 0
    log_probability, labels = log_probability[known], labels[known]
    loss = 0.0 - log_probability[np.arange(len(labels)), labels].mean(dtype=np.float64)
    return float(loss), float((log_probability.argmax(1) == labels).mean())
