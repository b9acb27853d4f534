"""The seven transforms of the falahzadeh system (scale, rotation, two shifts, zoom, two flips) and three more.

The paper names them without ranges or definitions; here, about the centre of an image of H x W px:

- scale:    both axes by one factor of [1 - s, 1 + s]: the face is larger or smaller, its shape kept.
- zoom:     each axis by a factor of its own of [1 - z, 1 + z], as Keras does under this name: the shape changes.
- rotation: by an angle of [-r, r] degrees, counter-clockwise.
- width_shift, height_shift: by a share of [-w, w] of W, of [-h, h] of H.
- horizontal_flip, vertical_flip: left for right, top for bottom, with a probability.

These seven are affine, so the ones chosen are one matrix and one interpolation (bilinear); they act in the order flip,
zoom, scale, rotation, shift. What comes in from beyond the border repeats the edge pixels: a black border would be a
strong edge, and one that tells which transform was applied. Then, on the pixels that came out:

- contrast:   their distance from middle gray by a factor of [1 - c, 1 + c].
- brightness: a shift of all by a share of [-b, b] of the range 0 to 255.
- erase:      a rectangle of a share of [0, e] of the area becomes middle gray (after Zhong et al. 2020).
"""

from dataclasses import dataclass, fields

import cv2
import numpy as np

GRAY = 128  # the middle of 0 to 255
_DRAWS = 14  # each transform's draws have their places, so choosing one leaves the draws of the others


@dataclass(frozen=True)
class Recipe:
    """Ranges of the transforms (0 is off), and the seed of the draws."""

    scale: float = 0.0
    rotation: float = 0.0
    width_shift: float = 0.0
    height_shift: float = 0.0
    zoom: float = 0.0
    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0
    seed: int = 0


#: Those that move pixels, and all of them.
AFFINE = ("scale", "rotation", "width_shift", "height_shift", "zoom", "horizontal_flip", "vertical_flip")
TRANSFORMS = tuple(field.name for field in fields(Recipe) if field.name != "seed")


def augment(images: np.ndarray, recipe: Recipe, rows: np.ndarray, copy: int) -> np.ndarray:
    """Transformed images, uint8 of the same shape (n, H, W) or (n, H, W, C).

    `rows` (n,) are the images' row numbers in the store and `copy` the number of the copy or epoch: the draws depend on
    these and the recipe alone, so it does not matter how the rows are cut into blocks or in which order they come.
    """
    height, width = images.shape[1:3]
    out = np.empty_like(images)
    for image, matrix, target in zip(images, matrices(recipe, rows, copy, height, width), out, strict=True):
        cv2.warpAffine(image, matrix, (width, height), dst=target, borderMode=cv2.BORDER_REPLICATE)
    if recipe.brightness or recipe.contrast:
        factor, shift = lights(recipe, rows, copy).T.reshape(2, -1, *[1] * (images.ndim - 1))
        out = np.clip(np.rint((out - float(GRAY)) * factor + (GRAY + shift)), 0, 255).astype(np.uint8)
    if recipe.erase:
        for target, (left, top, right, bottom) in zip(out, holes(recipe, rows, copy, height, width), strict=True):
            target[top:bottom, left:right] = GRAY
    return out


def matrices(recipe: Recipe, rows: np.ndarray, copy: int, height: int, width: int) -> np.ndarray:
    """(n, 2, 3) float64: where each image's pixel (x, y, 1) goes. See `augment` for the arguments."""
    draw = uniform(recipe.seed, rows, copy)
    between = 2 * draw - 1  # in [-1, 1)
    scale = 1 + recipe.scale * between[0]
    angle = np.radians(recipe.rotation * between[1])
    shift_x, shift_y = recipe.width_shift * width * between[2], recipe.height_shift * height * between[3]
    factor_x = scale * (1 + recipe.zoom * between[4]) * np.where(draw[6] < recipe.horizontal_flip, -1, 1)
    factor_y = scale * (1 + recipe.zoom * between[5]) * np.where(draw[7] < recipe.vertical_flip, -1, 1)
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos * factor_x, sin * factor_y], [-sin * factor_x, cos * factor_y]])  # (2, 2, n); y points down
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    moved = centre[:, None] - np.einsum("ijn,j->in", linear, centre) + np.array([shift_x, shift_y])
    return np.ascontiguousarray(np.concatenate([linear, moved[:, None]], axis=1).transpose(2, 0, 1))


def lights(recipe: Recipe, rows: np.ndarray, copy: int) -> np.ndarray:
    """(n, 2) float64: factor on the distance from middle gray, and shift in pixel values."""
    between = 2 * uniform(recipe.seed, rows, copy)[8:10] - 1
    return np.stack([1 + recipe.contrast * between[0], 255 * recipe.brightness * between[1]], axis=1)


def holes(recipe: Recipe, rows: np.ndarray, copy: int, height: int, width: int) -> np.ndarray:
    """(n, 4) int64: left, top, right, bottom of each erased rectangle, px, whose sides are as 1:2 to 2:1."""
    area, ratio, x, y = uniform(recipe.seed, rows, copy)[10:14]
    share, ratio = np.sqrt(recipe.erase * area), 2 ** (ratio - 0.5)
    wide = np.minimum(np.rint(share * ratio * width), width)
    high = np.minimum(np.rint(share / ratio * height), height)
    left, top = np.floor(x * (width - wide + 1)), np.floor(y * (height - high + 1))
    return np.stack([left, top, left + wide, top + high], axis=1).astype(np.int64)


def uniform(seed: int, rows: np.ndarray, copy: int) -> np.ndarray:
    """(14, n) float64 in [0, 1): a hash of (seed, row, copy, draw), so that no row's draws depend on another's.

    A generator a row would do the same and cost more than the transform itself.
    """
    state = _mix(np.array([seed], np.uint64))
    state = _mix(state ^ np.uint64(copy))
    state = _mix(state ^ np.asarray(rows).astype(np.uint64))
    bits = _mix(state + np.arange(1, _DRAWS + 1, dtype=np.uint64)[:, None] * _GOLDEN)
    return (bits >> np.uint64(11)) * 2.0**-53


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(state: np.ndarray) -> np.ndarray:
    """One step of SplitMix64 (Steele, Lea and Flood 2014): every bit of the state moves every bit of the result."""
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
