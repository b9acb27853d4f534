"""Two rows as one: mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019), each batch with itself reversed."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .augment import inside
from .normalise import planes


@dataclass(frozen=True)
class Mix:
    """`mixup` and `cutmix` are the alphas of their Beta distributions, 0 for off; with both, a coin decides."""

    mixup: float
    cutmix: float
    classes: int
    side: int  # of the images, px
    seed: int

    def draw(self, steps: int, epoch: int) -> Tensor:
        """(steps, 5) float32: share of the first picture outside a box, and that box: left, top, right, bottom, px."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch, 1]))
        cut = generator.random(steps) < (0.5 if self.mixup and self.cutmix else float(bool(self.cutmix)))
        share = np.where(
            cut, generator.beta(*[self.cutmix or 1] * 2, steps), generator.beta(*[self.mixup or 1] * 2, steps)
        )
        half = np.sqrt(1 - share) * self.side / 2 * cut
        centre = generator.random((2, steps)) * self.side
        box = np.rint(np.clip(np.concatenate([centre - half, centre + half]), 0, self.side))
        return torch.from_numpy(np.concatenate([np.where(cut, 1, share)[None], box]).T.astype(np.float32))

    def blend(self, images: Tensor, labels: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed images (B, C, S, S) float32 and shares of the classes (B, K). labels: (B,) or (B, K); drawn: (5,)."""
        pixels, share, box = planes(images), drawn[0], drawn[1:]
        other = pixels.flip(0)
        pixels = torch.where(inside(box.view(1, 4), self.side), other, share * pixels + (1 - share) * other)
        area = (box[2] - box[0]) * (box[3] - box[1]) / self.side**2
        truth = labels if labels.ndim == 2 else functional.one_hot(labels, self.classes).float()
        kept = share * (1 - area)
        return pixels, kept * truth + (1 - kept) * truth.flip(0)
