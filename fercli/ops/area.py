"""Photos made smaller by the mean over areas, from a table of sums (Crow 1984): the photo is read once, whatever number
of sizes and windows are taken from it.

Pixel i of n along a side of m px is the mean of px floor(i m / n) to ceil((i + 1) m / n), all of them whole, so that
neighbours may share one. `cv2.INTER_AREA` splits the px at the edges of an area; the face detector mtcnn was published
with whole ones, and its boxes hang on such detail.
"""

import cv2
import numpy as np

#: The longest side of a photo: the sum over a square of it must fit into 32 bits.
LONGEST = 2896

#: Four sums of 32 bits in one, which numpy moves four times as fast. They are moved so, and never reckoned with.
_FOUR = np.complex128
#: Rows that are made at a time: what lies between fits the processor's cache.
_ROWS = 16


class Sums:
    """The sums of all px above and to the left of each px of an (H, W, 3) uint8 photo, H and W up to LONGEST.

    What it gives has a fourth channel, which means nothing: four sums are moved at once.
    """

    def __init__(self, photo: np.ndarray) -> None:
        self.height, self.width = photo.shape[:2]
        self._table = cv2.integral(cv2.cvtColor(photo, cv2.COLOR_RGB2RGBA))  # (H + 1, W + 1, 4) int32

    def resize(self, out: np.ndarray) -> None:
        """Writes the whole photo into `out` (h, w, 4) float32, 0 to 255, at its size."""
        height, width = out.shape[:2]
        top, bottom = (edge[0] for edge in _bins(np.zeros(1, int), np.array([self.height]), height))
        left, right = (edge[0] for edge in _bins(np.zeros(1, int), np.array([self.width]), width))
        down = (1 / (bottom - top)).astype(np.float32)[:, None]
        across = (1 / (right - left)).astype(np.float32).repeat(4)
        for row in range(0, height, _ROWS):
            some = slice(row, row + _ROWS)
            rows = self._table.take(bottom[some], axis=0)
            rows -= self._table.take(top[some], axis=0)
            rows = rows.view(_FOUR)[..., 0]
            sums = _apart(rows.take(right, axis=1))
            sums -= _apart(rows.take(left, axis=1))
            # a row at a time, and not four numbers at a time, numpy multiplies fast
            means = sums.reshape(len(sums), -1).astype(np.float32) * across
            out[some] = (means * down[some]).reshape(sums.shape)

    def windows(self, box: np.ndarray, size: int) -> np.ndarray:
        """Windows (n, 4) of the photo, left, top, right, bottom in whole px, as (n, size, size, 4) float32, 0 to 255.

        None may be empty or leave the photo.
        """
        left, right = _bins(box[:, 0], box[:, 2], size)
        top, bottom = _bins(box[:, 1], box[:, 3], size)
        table, step = self._table.view(_FOUR).ravel(), self.width + 1
        upper, lower = (edge[:, :, None] * step for edge in (top, bottom))
        sums = _apart(table.take(lower + right[:, None]))
        sums -= _apart(table.take(lower + left[:, None]))
        sums -= _apart(table.take(upper + right[:, None]))
        sums += _apart(table.take(upper + left[:, None]))
        means = sums.astype(np.float32)
        means *= (1 / ((bottom - top)[:, :, None] * (right - left)[:, None])).astype(np.float32)[..., None]
        return means


def _bins(low: np.ndarray, high: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first px of each of `count` areas along ranges (n,), and the px after its last, (n, count) each."""
    step, side = np.arange(count), (high - low)[:, None]
    return low[:, None] + step * side // count, low[:, None] - -(step + 1) * side // count


def _apart(sums: np.ndarray) -> np.ndarray:
    return sums[..., None].view(np.int32)
