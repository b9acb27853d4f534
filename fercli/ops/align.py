"""Faces turned upright and brought to one size and place by their landmarks."""

import math

import cv2
import numpy as np

from .geometry import face

#: Eyes, nose and mouth corners in shares of an aligned face, where the faces of FER2013 have them: medians over 869 of
#: 1,000 of its pictures, both halves averaged. `python -m tests.benchmarks.framing` measures them.
TEMPLATE = np.array([[0.316, 0.390], [0.684, 0.390], [0.500, 0.600], [0.343, 0.780], [0.657, 0.780]])
#: Root mean square distance of the landmarks from their places, in shares of the aligned face, above which nose and
#: mouth have no say: a head in profile, or points that were found wrongly.
FAR = 0.08
#: Finest raster, in px a px of the aligned face, on which a large face is sampled before it is made small.
FINEST = 16


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and shift (2, 3) that bring points (n, 2), n at least 2, nearest to their targets.

    Least squares without a reflection (Umeyama 1991, equations 40 to 42), in the plane, where with points as complex
    numbers the turn and scale are one quotient. Source points that are all the same raise ZeroDivisionError.
    """
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    from_, to = (np.asarray(points, float) @ [1, 1j] for points in (source - middle, target - aim))
    factor = complex(np.vdot(from_, to)) / float(np.vdot(from_, from_).real)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, aim - turn @ middle])


def alignment(landmark: np.ndarray, template: np.ndarray) -> np.ndarray | None:
    """The similarity (2, 3) from landmarks (5, 2) in px to their places (5, 2) in shares of the aligned face.

    By the eyes alone where the other points do not fit; None where the eyes do not make sense either: they coincide,
    or the left one lies to the right.
    """
    if not np.isfinite(landmark).all() or landmark[1, 0] - landmark[0, 0] < 1:
        return None
    whole = similarity(landmark, template)
    missed = landmark @ whole[:, :2].T + whole[:, 2] - template
    if math.sqrt((missed**2).sum(axis=1).mean()) <= FAR:
        return whole
    return similarity(landmark[:2], template[:2])


def aligned(image: np.ndarray, box: np.ndarray, landmark: np.ndarray, margin: float, size: int) -> np.ndarray:
    """(size, size[, 3]) uint8: a face of an (H, W[, 3]) image, upright, with a margin around what FER2013 shows.

    Beyond the image its edge px are repeated. A face whose landmarks (5, 2) make no sense is cropped by its box (4,).
    """
    found = alignment(np.asarray(landmark, float), (TEMPLATE + margin) / (1 + 2 * margin))
    if found is None:
        return face(image, box, margin, size)
    scale = size * math.hypot(*found[:, 0])  # px of the aligned face a px of the image
    fine = min(FINEST, max(1, math.ceil(1 / scale)))
    matrix = size * fine * found
    # landmarks lie in px that begin at whole numbers; for OpenCV their middle does
    matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    side = size * fine
    (left, top), (right, bottom) = _window(matrix, side, image.shape)
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    seen = image[top:bottom, left:right]  # alone, as OpenCV takes no more than 32,766 px a side
    raster = cv2.warpAffine(seen, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return raster if fine == 1 else cv2.resize(raster, (size, size), interpolation=cv2.INTER_AREA)


def _window(matrix: np.ndarray, side: int, shape: tuple[int, ...]) -> np.ndarray:
    """Corner and end (2, 2), x before y, of the part of an (H, W[, 3]) image that a raster of `side` px shows under a
    `matrix` (2, 3) from px of the image to its own; at least one px of the image.
    """
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]])
    places = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    size = np.array(shape[1::-1])
    low = np.clip(np.floor(places.min(axis=0)) - 1, 0, size - 1)  # with the px that lie around, for interpolation
    return np.stack([low, np.clip(np.ceil(places.max(axis=0)) + 2, low + 1, size)]).astype(int)
