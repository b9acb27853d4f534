"""What a network reads of its rows: one array a column, in the order of `models.inputs.columns`, the images first.

Images are (N, H, W[, C]) uint8; features that stand beside them, such as HOG, are (N, D) float32.
"""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from .stored import Stored

Inputs = Sequence[np.ndarray | Tensor | Stored]


def answer(network: nn.Module, normalise: Callable[[Tensor], Tensor], inputs: Sequence[Tensor]) -> Tensor:
    """What `network` makes of the rows in `inputs`: logits (N, classes) of a whole one."""
    images, *features = inputs
    pixels = normalise(images)
    return network(pixels, *(values.to(pixels.dtype) for values in features))
