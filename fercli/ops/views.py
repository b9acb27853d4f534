"""Views of faces for test-time augmentation: a network's answers to an image a little turned, resized and mirrored are
averaged, as Krizhevsky et al. (2012) average over ten crops.
"""

from collections.abc import Iterator

import cv2
import numpy as np

#: Turns in degrees and scales of the images that are answered.
_AS_IT_IS = ((0.0, 1.0),)
_FIVE = (*_AS_IT_IS, (8.0, 1.0), (-8.0, 1.0), (0.0, 0.9), (0.0, 1.1))
#: The same by the name of a set of views, and whether each is mirrored too.
VIEWS = {"none": (_AS_IT_IS, False), "flip": (_AS_IT_IS, True), "ten": (_FIVE, True)}


def views(images: np.ndarray, name: str) -> Iterator[np.ndarray]:
    """The images (N, S, S[, C]) uint8 in each view of the set `name`, the first as they are.

    Where a view shows more than the image, its edge pixels are repeated.
    """
    turns, mirrored = VIEWS[name]
    for degrees, scale in turns:
        seen = images if (degrees, scale) == (0, 1) else _turned(images, degrees, scale)
        yield seen
        if mirrored:
            yield np.ascontiguousarray(seen[:, :, ::-1])


def _turned(images: np.ndarray, degrees: float, scale: float) -> np.ndarray:
    height, width = images.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    made = np.empty_like(images)
    for image, out in zip(images, made, strict=True):
        cv2.warpAffine(image, matrix, (width, height), out, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return made
