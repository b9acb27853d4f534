"""Training rows, held in memory as bytes, in the batches of an epoch."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from .inputs import Inputs

#: (images (B, H, W[, C]) uint8, row numbers (B,), epoch) -> images of the same shape: online augmentation.
Augment = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


class Batches:
    """Labelled rows, shuffled anew each epoch: the order is a function of the seed and the epoch alone.

    inputs of N rows, images (N, H, W[, C]) uint8 first; labels (N,) integers; rows (N,) their numbers in their store.
    The inputs lie on the device whole, where the batches are gathered; with `augment`, which works on arrays, they stay
    in memory.
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: np.ndarray,
        rows: np.ndarray,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        augment: Augment | None = None,
    ) -> None:
        self.rows, self.batch, self.seed, self.device, self.augment = rows, batch, seed, device, augment
        self.inputs = tuple(torch.from_numpy(values) for values in inputs)
        self.labels = torch.from_numpy(labels).long().to(device)
        if augment is None:
            self.inputs = tuple(values.to(device) for values in self.inputs)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.labels) // self.batch)

    def epoch(self, epoch: int) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        """Batches of inputs, of B rows each, and labels (B,) int64 on the device: every row once.

        They are of `batch` rows or one fewer where those go into the rows without a small rest, which batch
        normalisation could not bear.
        """
        order = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(len(self.labels))
        for chosen, where in zip(
            np.array_split(order, len(self)),
            torch.from_numpy(order).to(self.device).tensor_split(len(self)),  # one transfer an epoch
            strict=True,
        ):
            yield self._inputs(chosen, where, epoch), self.labels[where]

    def _inputs(self, chosen: np.ndarray, where: Tensor, epoch: int) -> tuple[Tensor, ...]:
        if self.augment is None:
            return tuple(values[where] for values in self.inputs)
        images, *features = (values.numpy()[chosen] for values in self.inputs)
        augmented = self.augment(images, self.rows[chosen], epoch)
        return tuple(torch.from_numpy(values).to(self.device) for values in (augmented, *features))
