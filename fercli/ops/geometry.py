"""Boxes and crops. A box is (x, y, width, height) in px from the image's upper left corner; it may leave the image."""

import numpy as np

from .image import resize


def grow(box: np.ndarray, margin: float) -> np.ndarray:
    """Boxes (..., 4) wider by `margin` of their size on every side (0.1: 1.2 times as wide and high), same centre."""
    size = box[..., 2:]
    return np.concatenate([box[..., :2] - margin * size, size * (1 + 2 * margin)], axis=-1)


def square(box: np.ndarray) -> np.ndarray:
    """The smallest squares around boxes (..., 4), same centres: a face is cropped without a change of its shape."""
    side = box[..., 2:].max(axis=-1, keepdims=True)
    corner = box[..., :2] + (box[..., 2:] - side) / 2
    return np.concatenate([corner, side, side], axis=-1)


def scaled(box: np.ndarray, factor: float) -> np.ndarray:
    """Boxes (..., 4) of an image in terms of the image `factor` times as large: maps a detection back to the photo."""
    return (box * factor).astype(np.float32)


def shrink(image: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """The image with its longer side at most `longest` px, and the factor that maps its boxes back (1 if unchanged)."""
    height, width = image.shape[:2]
    factor = max(height, width) / longest
    if factor <= 1:
        return image, 1.0
    small = resize(image, max(1, round(height / factor)), max(1, round(width / factor)))
    return small, factor


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The pixels (h, w[, 3]) of a box (4,), its corner and size rounded to whole px, at least 1 x 1.

    Where the box leaves the image the edge pixels are repeated: a black border would be the strongest edge in the
    crop, for the gradients as for a network, and would tell where in the photo the face stood.
    """
    height, width = image.shape[:2]
    x, y, w, h = np.floor(np.asarray(box, float) + 0.5).astype(int).tolist()
    w, h = max(w, 1), max(h, 1)
    if min(x, y) >= 0 and x + w <= width and y + h <= height:
        return image[y : y + h, x : x + w]
    rows = np.clip(np.arange(y, y + h), 0, height - 1)
    columns = np.clip(np.arange(x, x + w), 0, width - 1)
    return image[rows[:, None], columns]


def face(image: np.ndarray, box: np.ndarray, margin: float, size: int) -> np.ndarray:
    """(size, size[, 3]) uint8: the square around a box with a margin, cropped and resized."""
    return resize(crop(image, square(grow(box, margin))), size, size)


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union, 0 to 1, of boxes (..., 4) that broadcast: `overlap(a[:, None], b)` for all pairs."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    either = one[..., 2:].prod(axis=-1) + other[..., 2:].prod(axis=-1) - shared
    return np.minimum(shared / np.where(either > 0, either, 1), 1)
