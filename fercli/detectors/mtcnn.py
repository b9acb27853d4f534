"""Multi-task cascaded convolutional networks (Zhang et al. 2016): face boxes and five landmarks, as in the zhao system.

Three networks, each looking harder at what the one before let pass: P-Net at every second px of an image pyramid, R-Net
at windows of 24 px, O-Net at windows of 48 px. Thresholds, and how numbers are rounded, are those of the published
system, so that boxes agree with other implementations of it.

All is reckoned in float32, on a GPU with the shorter products (TF32) that torch takes there: with P-Net in bfloat16,
three quarters of its time on a processor with AMX, boxes move (intersection over union 0.91 to 1), as they do with any
other resizing.
"""

import copy
import threading

import cv2
import numpy as np
import torch

from ..ops.area import Sums
from ..ops.geometry import shrink
from . import Detector as Base
from . import Faces, check_reached, largest_first
from ._networks import FastProposalNet
from ._pyramid import STRIDE, WINDOW, Sheet, levels, sheet
from ._weights import cascade

#: Probabilities of a face from which the three networks let a window pass; the last is the default of --confidence.
PASS = (0.6, 0.7, 0.7)
#: Overlaps (intersection over union) above which only the best window stays: within a level, in a photo, after R-Net.
ALIKE = (0.5, 0.7, 0.7)
#: The same after O-Net, as a share of the smaller of two boxes.
INSIDE = 0.7
#: Photos are searched at no more than this length, px.
LONGEST = 2560
#: Pixels of the sheet that go through P-Net at a time. On a processor what its layers make of so many fits its cache,
#: which halves the time; a GPU has more at once, some 100 MB of each thread's.
BAND = {"cpu": 150_000, "cuda": 2_000_000}
#: Windows that go through R-Net and O-Net at a time: as many as suit the cache, or the GPU.
WINDOWS = {"cpu": 128, "cuda": 4096}


class Detector(Base):
    """Scores are O-Net's probability of a face, 0.7 to 1."""

    takes_weights = True
    takes_device = True
    has_landmarks = True

    def __init__(
        self, min_face: int, confidence: float | None = None, weights: str | None = None, device: str = "cpu"
    ) -> None:
        """As every detector. A face of under 12 px is not found. Raises UsageError for a confidence above 1, DataError
        where there are no weights.
        """
        check_reached(confidence, "mtcnn")
        self._device = torch.device(device)
        plain = cascade(weights)
        if threading.current_thread() is threading.main_thread():
            torch.get_num_threads()  # settles its own number, before that of another thread becomes the first
        else:
            torch.set_num_threads(1)  # for this thread: a photo a core is faster than every core on each photo
        self._pnet = FastProposalNet(plain.pnet).to(self._device)
        self._rnet, self._onet = (
            copy.deepcopy(network).to(self._device, memory_format=torch.channels_last)  # others have them elsewhere
            for network in (plain.rnet, plain.onet)
        )
        self._min_face = min_face
        self._confidence = PASS[2] if confidence is None else confidence

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> Faces:
        """Faces of an (H, W) gray or (H, W, 3) RGB uint8 image."""
        small, factor = shrink(image, LONGEST)
        photo = Sums(_rgb(small))
        box = self._proposed(photo, max(WINDOW, self._min_face / factor))
        box, score, landmark = self._output(photo, self._refined(photo, box))
        box, landmark = box.astype(float) * factor, landmark.astype(float) * factor
        box[:, 2:] -= box[:, :2]
        large = box[:, 2:].max(axis=1, initial=0) >= self._min_face
        box, score, landmark = (values[large].astype(np.float32) for values in (box, score, landmark))
        order = largest_first(box, score)
        return Faces(box[order], score[order], landmark[order])

    def _proposed(self, photo: Sums, least: float) -> np.ndarray:
        """P-Net's windows (n, 4), squares as left, top, right, bottom px, for faces of `least` px and more."""
        pyramid = levels(photo, least)
        if not pyramid:
            return np.zeros((0, 4), np.float32)
        laid = sheet(photo, pyramid)
        cell, score, offset = self._cells(laid)
        level = laid.owner[cell[:, 0], cell[:, 1]]
        scale = np.array([one.scale for one in pyramid], np.float32)[level, None]
        at = (STRIDE * cell - laid.corner[level])[:, ::-1]  # x, y in the level
        box = np.floor(np.concatenate([(at + 1) / scale, (at + WINDOW) / scale], axis=1), dtype=np.float32)
        best = _best(box, score, level, ALIKE[0])
        best = best[_best(box[best], score[best], np.zeros(len(best)), ALIKE[1])]
        box = box[best]
        return _square(box + offset[best] * _size(box))

    def _cells(self, laid: Sheet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cells (n, 2) of the sheet, by row and column, that P-Net lets pass, their scores (n,) and offsets (n, 4)."""
        height, width = laid.pixels.shape[:2]
        rows = max(STRIDE, BAND[self._device.type] // width // STRIDE * STRIDE)
        found = []
        for top in range(0, height - WINDOW + STRIDE, rows):
            band = torch.from_numpy(laid.pixels[top : top + rows + WINDOW - STRIDE]).to(self._device)
            logit, seen = self._pnet(band.permute(2, 0, 1))
            score = torch.sigmoid(logit)
            owner = torch.from_numpy(laid.owner[top // STRIDE :][: len(score)]).to(self._device)
            cell = ((score >= PASS[0]) & (owner >= 0)).nonzero()
            offset = self._pnet.box(seen[cell[:, 0], cell[:, 1]])
            score = score[cell[:, 0], cell[:, 1]]
            cell[:, 0] += top // STRIDE
            found.append((cell.cpu().numpy(), score.cpu().numpy(), offset.cpu().numpy()))
        return tuple(map(np.concatenate, zip(*found, strict=True)))

    def _refined(self, photo: Sums, box: np.ndarray) -> np.ndarray:
        """The windows that R-Net lets pass, moved by it."""
        box, pixels = _windows(photo, box, 24)
        score, offset = self._seen(self._rnet, pixels)
        sure = score > PASS[1]
        box, score, offset = box[sure], score[sure], offset[sure]
        best = _best(box, score, np.zeros(len(box)), ALIKE[2])
        return _square(box[best] + offset[best] * (_size(box[best]) + 1))

    def _output(self, photo: Sums, box: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Faces by O-Net: left, top, right, bottom (n, 4), score (n,) and landmarks (n, 5, 2)."""
        box, pixels = _windows(photo, box, 48)
        score, offset, landmark = self._seen(self._onet, pixels)
        sure = score > self._confidence
        box, score, offset, landmark = (values[sure] for values in (box, score, offset, landmark))
        size = _size(box) + 1
        landmark = landmark.reshape(-1, 2, 5).transpose(0, 2, 1) * size[:, None, :2] + box[:, None, :2] - 1
        box = box + offset * size
        best = _best_of_nested(box, score, INSIDE)
        return box[best], score[best], landmark[best]

    def _seen(self, network: torch.nn.Module, pixels: np.ndarray) -> list[np.ndarray]:
        """A network's score (n,) and its other answers for windows (n, s, s, 4)."""
        batch = torch.from_numpy(pixels)[..., :3].permute(0, 3, 1, 2)
        parts = [
            network(part.to(self._device).contiguous(memory_format=torch.channels_last))
            for part in batch.split(WINDOWS[self._device.type])
        ]
        face, *others = (torch.cat(answers).cpu() for answers in zip(*parts, strict=True))
        return [torch.sigmoid(face[:, 1] - face[:, 0]).numpy(), *(other.numpy() for other in others)]


def _rgb(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)


def _size(box: np.ndarray) -> np.ndarray:
    """Width, height, width, height (n, 4) of left, top, right, bottom."""
    return np.tile(box[:, 2:] - box[:, :2], 2)


def _square(box: np.ndarray) -> np.ndarray:
    """The squares around left, top, right, bottom (n, 4) with the same centres."""
    size = box[:, 2:] - box[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = box[:, :2] + size / 2 - side / 2
    return np.concatenate([corner, corner + side], axis=1)


def _windows(photo: Sums, box: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The boxes that lie at least in part in the photo, and the pixels (n, size, size, 4) in them.

    Coordinates count from 1, as in the published system, and what leaves the photo is cut off.
    """
    limit = np.array([photo.width, photo.height])
    low, high = np.maximum(np.trunc(box[:, :2]), 1).astype(int) - 1, np.minimum(np.trunc(box[:, 2:]).astype(int), limit)
    inside = (high > low).all(axis=1)
    return box[inside], photo.windows(np.concatenate([low, high], axis=1)[inside], size)


def _best(box: np.ndarray, score: np.ndarray, group: np.ndarray, overlap: float) -> np.ndarray:
    """Indices of the boxes that no better one of their group covers, the best first."""
    if not len(box):
        return np.zeros(0, int)
    rectangles = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1).astype(float)
    return np.asarray(cv2.dnn.NMSBoxesBatched(rectangles, score, group.astype(np.int32), -1.0, overlap), int)


def _best_of_nested(box: np.ndarray, score: np.ndarray, share: float) -> np.ndarray:
    """As `_best` of one group, but overlap is the share of the smaller box in the other, and sides are counted in whole
    px.
    """
    left = np.argsort(-score, kind="stable")
    area = (_size(box)[:, :2] + 1).prod(axis=1)
    best = []
    while len(left):
        first, left = left[0], left[1:]
        best.append(first)
        low, high = np.maximum(box[left, :2], box[first, :2]), np.minimum(box[left, 2:], box[first, 2:])
        shared = np.maximum(high - low + 1, 0).prod(axis=1)
        left = left[shared <= share * np.minimum(area[left], area[first])]
    return np.array(best, int)
