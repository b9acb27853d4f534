"""Every level of a photo's image pyramid on one sheet, so that a network runs over all of them at once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..ops.area import Sums

#: The window of P-Net and the step between its windows, px of a level.
WINDOW, STRIDE = 12, 2
#: Ratio of one level's size to that of the next larger one.
FACTOR = 0.709


class Level(NamedTuple):
    """The photo at one scale."""

    scale: float  # px of the level a px of the photo
    height: int
    width: int


class Sheet(NamedTuple):
    """Levels side by side, none over another."""

    pixels: np.ndarray  # (H, W, 4) float32, H and W even
    owner: np.ndarray  # ((H - 10) / 2, (W - 10) / 2) int32: a window's level, or -1 if it lies whole in none
    corner: np.ndarray  # (levels, 2) int: row and column of each level's upper left px


def levels(photo: Sums, least: float) -> list[Level]:
    """The pyramid of a photo: from the scale at which a face of `least` px fills a window, down to where the photo's
    shorter side does. Sides are rounded up, as in the published system.
    """
    scale, made = WINDOW / least, []
    while min(photo.height, photo.width) * scale >= WINDOW:
        made.append(Level(scale, int(photo.height * scale + 1), int(photo.width * scale + 1)))
        scale *= FACTOR
    return made


def sheet(photo: Sums, levels: Sequence[Level]) -> Sheet:
    """The levels on a sheet as wide as the widest of them. An odd side gets its last px twice: windows go in twos."""
    sizes = np.array([(level.height, level.width) for level in levels])
    places = sizes + sizes % 2
    corner, height = pack(places, int(places[:, 1].max()))
    pixels = np.zeros((height, places[:, 1].max(), 4), np.float32)
    owner = np.full([cells(side) for side in pixels.shape[:2]], -1, np.int32)
    for number, level in enumerate(levels):
        (row, column), (h, w) = corner[number], places[number]
        place = pixels[row : row + h, column : column + w]
        photo.resize(place[: level.height, : level.width])
        place[level.height :] = place[level.height - 1]
        place[:, level.width :] = place[:, level.width - 1 : level.width]
        row, column = row // STRIDE, column // STRIDE
        owner[row : row + cells(h), column : column + cells(w)] = number
    return Sheet(pixels, owner, corner)


def cells(side: int) -> int:
    """Windows along a side of even length, px."""
    return (side - WINDOW) // STRIDE + 1


def pack(sizes: np.ndarray, width: int) -> tuple[np.ndarray, int]:
    """Where to lay rectangles of `sizes` (n, 2), even heights and widths, on a sheet of `width`, and how high it gets.

    The highest first, each as high up as it fits on what lies there already (bottom-left rule, Baker et al. 1980).
    """
    corner = np.zeros_like(sizes)
    filled = np.zeros(width // STRIDE, int)  # how far down each pair of columns is taken
    for number in np.argsort(-sizes[:, 0], kind="stable"):
        height, across = sizes[number, 0], sizes[number, 1] // STRIDE
        top = np.lib.stride_tricks.sliding_window_view(filled, across).max(axis=1)
        column = int(top.argmin())
        corner[number] = top[column], column * STRIDE
        filled[column : column + across] = top[column] + height
    return corner, int(filled.max())
