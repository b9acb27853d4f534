"""Pixels to what a network takes. The two numbers a channel travel with the model."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .stored import PIECE, Stored

#: Of the pixels of ImageNet, red green blue in 0 to 255: what the published weights were trained with (torchvision).
IMAGENET = ([255 * 0.485, 255 * 0.456, 255 * 0.406], [255 * 0.229, 255 * 0.224, 255 * 0.225])


class Normalise(nn.Module):
    """Images (see `planes`) to (N, C, H, W) of `dtype`, channels last in memory: (pixel - mean) / deviation.

    `mean` and `deviation` hold one number a channel, in pixel values 0 to 255.
    """

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The images as the network's input, on the device that holds them."""
        return ((planes(images) - self.mean) / self.deviation).to(self.dtype)


def planes(images: Tensor) -> Tensor:
    """(N, H, W) or (N, H, W, C) uint8 to (N, C, H, W) float32, channels last in memory; such float32 as they are."""
    if images.dtype != torch.uint8:
        return images
    if images.ndim == 3:
        images = images.unsqueeze(3)  # (N, H, W, 1)
    return images.permute(0, 3, 1, 2).float()


def statistics(images: np.ndarray | Stored, kind: str) -> tuple[list[float], list[float]]:
    """Mean and deviation a channel for `Normalise`, of training images (N, H, W[, C]) uint8.

    "unit" brings pixels to 0..1 whatever the images; "standard" brings their mean to 0 and their deviation to 1;
    "imagenet" does so to those of ImageNet, channel by channel, of which gray has the means.
    """
    channels = 1 if len(images.shape) == 3 else images.shape[3]
    if kind == "imagenet":
        mean, deviation = IMAGENET
        return (mean, deviation) if channels == len(mean) else ([float(np.mean(mean))], [float(np.mean(deviation))])
    if kind == "unit":
        return [0.0] * channels, [255.0] * channels
    values, histograms = np.arange(256), np.zeros((channels, 256), np.int64)  # exact, and no float copy of the images
    for start in range(0, len(images), PIECE):
        pixels = images[start : start + PIECE].reshape(-1, channels)
        for counts, level in zip(histograms, pixels.T, strict=True):
            counts += np.bincount(level, minlength=256)
    mean, deviation = [], []
    for counts in histograms:
        centre = float(counts @ values / counts.sum())
        spread = float(np.sqrt(counts @ (values - centre) ** 2 / counts.sum()))
        mean.append(centre)
        deviation.append(max(spread, 1.0))  # a channel of one value only stays finite
    return mean, deviation
