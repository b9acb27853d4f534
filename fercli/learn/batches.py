"""Training rows, held in memory as bytes, in the batches of an epoch."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

#: (images (B, H, W[, C]) uint8, row numbers (B,), epoch) -> images of the same shape: online augmentation.
Augment = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


class Batches:
    """Labelled images, shuffled anew each epoch: the order is a function of the seed and the epoch alone.

    images (N, H, W[, C]) uint8, labels (N,) integers, rows (N,) numbers of the rows in their store. The images lie on
    the device whole, where the batches are gathered; with `augment`, which works on arrays, they stay in memory.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        rows: np.ndarray,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        augment: Augment | None = None,
    ) -> None:
        self.rows, self.batch, self.seed, self.device, self.augment = rows, batch, seed, device, augment
        self.images = torch.from_numpy(images)
        self.labels = torch.from_numpy(labels).long().to(device)
        if augment is None:
            self.images = self.images.to(device)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.labels) // self.batch)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of images (B, H, W[, C]) uint8 and labels (B,) int64 on the device: every row once.

        They are of `batch` rows or one fewer where those go into the rows without a small rest, which batch
        normalisation could not bear.
        """
        order = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(len(self.labels))
        for chosen, where in zip(
            np.array_split(order, len(self)),
            torch.from_numpy(order).to(self.device).tensor_split(len(self)),  # one transfer an epoch
            strict=True,
        ):
            yield self._images(chosen, where, epoch), self.labels[where]

    def _images(self, chosen: np.ndarray, where: Tensor, epoch: int) -> Tensor:
        if self.augment is None:
            return self.images[where]
        plain = self.images.numpy()[chosen]
        return torch.from_numpy(self.augment(plain, self.rows[chosen], epoch)).to(self.device)
