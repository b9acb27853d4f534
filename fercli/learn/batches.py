"""Training rows on the device, in the batches of an epoch."""

import numpy as np
import torch
from torch import Tensor

from .augment import Augment, transform
from .device import free_memory
from .heads import truth
from .inputs import Inputs
from .normalise import planes
from .stored import Stored, Windows


class Batches:
    """Labelled rows, shuffled anew each epoch: the order is a function of the seed and the epoch alone.

    inputs of N rows, images (N, H, W[, C]) uint8 first; labels (N,) integers, or (N, K) float32 shares of the classes,
    or (N, heads) integers of a network with several heads, -1 where that is unknown. All lie on the device, where the
    batches are gathered; images that would not fit there are gathered in memory, and what would not fit there either
    is read window by window (see `stored`).
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: np.ndarray,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        augment: Augment | None = None,
    ) -> None:
        self.batch, self.seed, self.device, self.augment = batch, seed, device, augment
        self.hold(inputs)
        labels = torch.from_numpy(labels)
        self.labels = (labels.float() if labels.is_floating_point() else labels.long()).to(device)

    def hold(self, inputs: Inputs) -> None:
        """Takes these for the inputs of the N rows."""
        self._windows = Windows(inputs) if isinstance(inputs[0], Stored) else None
        if self._windows is None:
            inputs = [torch.as_tensor(values) for values in inputs]
            coming = sum(one.nbytes for one in inputs if one.device.type != self.device.type)
            fit = not coming or coming < free_memory(self.device) / 2
            inputs = [values.to(self.device if fit else "cpu") for values in inputs]
        self.inputs = tuple(inputs)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.labels) // self.batch)

    @property
    def labelled(self) -> int:
        """Rows whose expression is known: all but those that teach another head alone."""
        return int((truth(self.labels) >= 0).sum())

    @property
    def resident(self) -> bool:
        """Whether the inputs lie on the device."""
        return self._windows is None and self.inputs[0].device.type == self.device.type

    @property
    def sizes(self) -> list[int]:
        """Rows of each step: `batch` or one fewer where those go into the rows without a small rest, which batch
        normalisation could not bear.
        """
        steps, rows = len(self), len(self.labels)
        return [rows // steps + (step < rows % steps) for step in range(steps)]

    def order(self, epoch: int) -> Tensor:
        """(N,) int64, in memory: every row once."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        if self._windows is not None:
            return torch.from_numpy(self._windows.order(generator, self.sizes))
        return torch.from_numpy(generator.permutation(len(self.labels)))

    def close(self) -> None:
        """Ends an epoch, whole or cut off."""
        if self._windows is not None:
            self._windows.close()

    def draw(self, epoch: int) -> dict[str, Tensor]:
        """What augmentation draws for the N rows in an epoch, in memory; see `Augment.draw`."""
        return {} if self.augment is None else self.augment.draw(epoch)

    def gather(self, where: Tensor, drawn: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """The inputs and labels of rows `where` (B,), on the device, the images transformed by what was `drawn`."""
        at = where if self.resident else where.cpu()
        taken = [values[at] for values in self.inputs] if self._windows is None else self._windows.take(at.numpy())
        images, *others = (values.to(self.device) for values in taken)
        if self.augment is not None:
            images = transform(planes(images), {name: values[where] for name, values in drawn.items()})
        return (images, *others), self.labels[where]
