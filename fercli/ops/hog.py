"""HOG: histograms of oriented gradients (Dalal and Triggs 2005), the hand-made features of the alizadeh system.

The face is cut into 6 x 6 cells whatever its size (8 px at 48x48), blocks are 2 x 2 cells one cell apart, and 9 bins
cover 0 to 180 degrees: 5 * 5 blocks * 4 cells * 9 bins = 900 features.
"""

import cv2
import numpy as np

from ..errors import DataError

CELLS = 6
BINS = 9
FEATURES = (CELLS - 1) ** 2 * 4 * BINS
_SMALLEST_CELL = 4  # px; below it a cell has too few pixels to fill a histogram of 9 bins


def hog(gray: np.ndarray) -> np.ndarray:
    """(N, 900) float32 features, 0 to 1 (a flat image gives zeros), of (N, H, W) uint8 images.

    Raises DataError unless H and W are multiples of 6 of at least 24 px.
    """
    _, height, width = gray.shape
    if height % CELLS or width % CELLS or min(height, width) < CELLS * _SMALLEST_CELL:
        raise DataError(
            f"HOG needs sides that are multiples of {CELLS} of at least {CELLS * _SMALLEST_CELL} px, "
            f"and the images are {width}x{height}: use --size 48"
        )
    cell = (width // CELLS, height // CELLS)
    block = (2 * cell[0], 2 * cell[1])
    descriptor = cv2.HOGDescriptor((width, height), block, cell, cell, BINS)
    features = [descriptor.compute(image).ravel() for image in np.ascontiguousarray(gray)]
    return np.array(features, np.float32).reshape(-1, FEATURES)
