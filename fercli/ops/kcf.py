"""KCF: a kernelised correlation filter that follows one box from frame to frame.

Henriques, Caseiro, Martins and Batista 2015, "High-speed tracking with kernelized correlation filters", IEEE TPAMI
37(3), 583-596; equations are named by their numbers there. What is seen around the box is sampled at one template size,
however large the face is, so that every Fourier transform is small and of a good length. (OpenCV's own tracker
transforms the box as it is, which takes 3 ms for one of 64 px and 100 ms for one of 170 px; this takes 0.5 ms.) Gray
pixels are the features, and three sizes of the box are tried in each frame. Where the response is weak, the face may
have moved so far that little of it is left in the window: another look is taken from the likeliest place further off.
"""

from typing import NamedTuple

import cv2
import numpy as np

#: Side of the template, px.
TEMPLATE = 48
#: The window that is seen at each look, in sides of the box.
WINDOW = 2.5
#: Sizes tried, as shares of the last one; another size than the last must be better by this share of the response.
STEPS = np.array([1.0, 0.95, 1.05])
WORSE = np.array([1.0, 0.97, 0.97])
#: Bandwidth of the kernel, ridge of the regression, share of each new frame in the filter, and the width of the wanted
#: response in sides of the box: those of the paper for gray pixels.
BANDWIDTH = 0.2
RIDGE = 1e-4
RATE = 0.075
SPREAD = 0.1
#: Response below which the face is not there any more. On real clips it is above 0.7 on a face that is followed, even
#: over three frames at once, and after a cut to another scene 0.2 in the median and 0.44 at most (168 cuts).
LOST = 0.45
#: Response below which another look is taken, and how far off at least, in sides of the box. A face that was found is
#: given up only for one that is not weak. Of 6,000 moves by up to a quarter of the side in x and in y, drawn as in
#: tests/test_kcf.py, 43 were lost with one look and 10 are with two.
WEAK = 0.7
FAR = 0.2


class _Place(NamedTuple):
    """Where a face may be in a frame."""

    response: float
    centre: np.ndarray  # (x, y), px
    step: float  # times its last size


class Kcf:
    """Follows one box. `update` is called with each next frame."""

    def __init__(self, gray: np.ndarray, box: np.ndarray) -> None:
        """`gray`: the (H, W) uint8 frame in which the face is at `box` (4,)."""
        box = np.asarray(box, np.float64)
        self._centre, self._size = box[:2] + box[2:] / 2, box[2:].copy()
        self._template = np.fft.rfft2(self._look(gray, self._centre, 1.0))
        self._filter = _trained(self._template)

    @property
    def box(self) -> np.ndarray:
        """(4,) float32: where the face is in the last frame."""
        return np.concatenate([self._centre - self._size / 2, self._size]).astype(np.float32)

    def update(self, gray: np.ndarray) -> float:
        """Finds the face in the next frame (H, W) uint8 and learns its looks; returns the response, about 1 for a face
        that looks as before. Under LOST it is gone, and nothing is learnt.
        """
        responses = self._responses(gray, self._centre)
        place = self._place(gray, self._centre, responses)
        if place.response < WEAK:
            far = self._place(gray, self._centre, np.where(_NEAR, -1.0, responses)).centre
            other = self._place(gray, far, self._responses(gray, far))
            if other.response > (place.response if place.response < LOST else WEAK):
                place = other
        if place.response < LOST:
            return place.response
        self._centre, self._size = place.centre, self._size * place.step
        template = np.fft.rfft2(self._look(gray, self._centre, 1.0))
        self._template += RATE * (template - self._template)
        self._filter += RATE * (_trained(template) - self._filter)
        return place.response

    def _responses(self, gray: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """(STEPS, T, T): the responses to all shifts of what is seen around `centre` (x, y), at each size (eq. 22)."""
        seen = np.stack([self._look(gray, centre, step) for step in STEPS])
        kernel = _kernel(self._template, np.fft.rfft2(seen))
        return np.fft.irfft2(self._filter * np.fft.rfft2(kernel), s=(TEMPLATE, TEMPLATE))

    def _place(self, gray: np.ndarray, centre: np.ndarray, responses: np.ndarray) -> _Place:
        """Where the response is highest, of those around `centre`; within the frame."""
        best = int((responses.max(axis=(1, 2)) * WORSE).argmax())
        peak, shift = _peak(responses[best])
        moved = centre + shift * self._size * STEPS[best] * WINDOW / TEMPLATE
        return _Place(peak, np.clip(moved, 0, gray.shape[::-1]), float(STEPS[best]))

    def _look(self, gray: np.ndarray, centre: np.ndarray, step: float) -> np.ndarray:
        """The features (T, T) of the window around a centre, at `step` times its size; edge pixels go on outside."""
        scale = self._size * step * WINDOW / TEMPLATE  # image px a template px
        corner = centre - scale * (TEMPLATE - 1) / 2
        to_image = np.column_stack([np.diag(scale), corner])
        pixels = cv2.warpAffine(gray, to_image, (TEMPLATE, TEMPLATE), flags=_SAMPLE, borderMode=cv2.BORDER_REPLICATE)
        return (pixels - np.float32(pixels.mean())) * _SCALED_HANN


def _kernel(template: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(..., T, T): Gaussian kernel of a template with all shifts of what is seen, from their transforms (eq. 31)."""
    crossed = np.fft.irfft2(seen * template.conj(), s=(TEMPLATE, TEMPLATE))
    distance = _energy(template) + _energy(seen)[..., None, None] - 2 * crossed
    return np.exp(-np.maximum(distance, 0) / (BANDWIDTH**2 * TEMPLATE**2))


def _energy(transform: np.ndarray) -> np.ndarray:
    """(...): sum of the squared features, from the half of their transform that `rfft2` gives (Parseval)."""
    return (np.abs(transform) ** 2 * _HALVES).sum(axis=(-2, -1)) / TEMPLATE**2


def _trained(template: np.ndarray) -> np.ndarray:
    """The filter: ridge regression of the wanted response on all shifts of the template (eq. 17)."""
    return _WANTED / (np.fft.rfft2(_kernel(template, template)) + RIDGE)


def _peak(response: np.ndarray) -> tuple[float, np.ndarray]:
    """The highest value, and the shift (x, y) where it lies, by a parabola to a fraction of a px."""
    row, column = divmod(int(response.argmax()), TEMPLATE)
    beside = [
        response[row, [column - 1, column, (column + 1) % TEMPLATE]],
        response[[row - 1, row, (row + 1) % TEMPLATE], column],
    ]
    shift = np.array([column, row]) + [_vertex(*three) for three in beside]
    return float(response[row, column]), np.where(shift > TEMPLATE / 2, shift - TEMPLATE, shift)


def _vertex(before: float, peak: float, after: float) -> float:
    """Where the parabola through three values at -1, 0 and 1 is highest."""
    bend = before - 2 * peak + after
    return (before - after) / (2 * bend) if bend < 0 else 0.0


def _wanted() -> np.ndarray:
    """Transform of the wanted response: a Gaussian around no shift."""
    away = np.minimum(np.arange(TEMPLATE), TEMPLATE - np.arange(TEMPLATE)) ** 2
    return np.fft.rfft2(np.exp(-(away[:, None] + away) / (2 * (SPREAD * TEMPLATE / WINDOW) ** 2)))


def _near() -> np.ndarray:
    """(T, T): the shifts by less than FAR."""
    away = np.minimum(np.arange(TEMPLATE), TEMPLATE - np.arange(TEMPLATE)) * WINDOW / TEMPLATE  # sides of the box
    return np.hypot(away[:, None], away) < FAR


_SAMPLE = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_WANTED = _wanted()
_NEAR = _near()
_HALVES = np.r_[1.0, np.full(TEMPLATE // 2 - 1, 2.0), 1.0]  # `rfft2` leaves out one of each pair of conjugates
_SCALED_HANN = (np.outer(np.hanning(TEMPLATE), np.hanning(TEMPLATE)) / 255).astype(np.float32)
