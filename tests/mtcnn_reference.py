"""MTCNN as the paper tells it, step by step and slowly: one photo, one level, one window at a time."""

import numpy as np
import torch
from torch.nn.functional import interpolate, softmax

from fercli.detectors._networks import Cascade


def detect(
    cascade: Cascade, photo: np.ndarray, min_face: float, passing: tuple[float, ...] = (0.6, 0.7, 0.7)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4) x, y, width, height, scores (n,) and landmarks (n, 5, 2) of an (H, W, 3) photo, the best first."""
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        boxes = proposals(cascade, pixels, min_face, passing[0])
        boxes = refined(cascade, pixels, boxes, passing[1])
        return output(cascade, pixels, boxes, passing[2])


def proposals(cascade: Cascade, pixels: torch.Tensor, min_face: float, passing: float) -> np.ndarray:
    height, width = pixels.shape[2:]
    scale, found = 12 / min_face, []
    while min(height, width) * scale >= 12:
        level = interpolate(pixels, size=(int(height * scale + 1), int(width * scale + 1)), mode="area")
        face, box = cascade.pnet(level)
        score, box = softmax(face, dim=1)[0, 1].numpy(), box[0].numpy()
        here = []
        for row, column in np.argwhere(score >= passing):
            cell = np.array([column, row])
            corners = np.floor(np.concatenate([2 * cell + 1, 2 * cell + 12]).astype(np.float32) / np.float32(scale))
            here.append([*corners, score[row, column], *box[:, row, column]])
        found += suppressed(here, 0.5)
        scale *= 0.709
    boxes = []
    for left, top, right, bottom, _, *moved in suppressed(found, 0.7):
        size = np.array([right - left, bottom - top] * 2)
        boxes.append(np.array([left, top, right, bottom]) + np.array(moved) * size)
    return squares(boxes)


def refined(cascade: Cascade, pixels: torch.Tensor, boxes: np.ndarray, passing: float) -> np.ndarray:
    found = []
    for box in boxes:
        window = resized(pixels, box, 24)
        if window is not None:
            face, moved = cascade.rnet(window)
            score = softmax(face, dim=1)[0, 1].item()
            if score > passing:
                found.append([*box, score, *moved[0].tolist()])
    boxes = []
    for left, top, right, bottom, _, *moved in suppressed(found, 0.7):
        size = np.array([right - left + 1, bottom - top + 1] * 2)
        boxes.append(np.array([left, top, right, bottom]) + np.array(moved) * size)
    return squares(boxes)


def output(
    cascade: Cascade, pixels: torch.Tensor, boxes: np.ndarray, passing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = []
    for box in boxes:
        window = resized(pixels, box, 48)
        if window is not None:
            face, moved, points = cascade.onet(window)
            score = softmax(face, dim=1)[0, 1].item()
            if score > passing:
                size = np.array([box[2] - box[0] + 1, box[3] - box[1] + 1] * 2)
                landmark = points[0].reshape(2, 5).T.numpy() * size[:2] + box[:2] - 1
                found.append((*(box + moved[0].numpy() * size), score, *landmark.ravel()))
    kept: list[tuple[float, ...]] = []
    for one in sorted(found, key=lambda one: -one[4]):
        if all(shared(one, other, 1) <= 0.7 * min(area(one, 1), area(other, 1)) for other in kept):
            kept.append(one)
    made = np.array(kept).reshape(-1, 15)
    box = np.concatenate([made[:, :2], made[:, 2:4] - made[:, :2]], axis=1)
    return box, made[:, 4], made[:, 5:].reshape(-1, 5, 2)


def suppressed(found: list[list[float]], overlap: float) -> list[list[float]]:
    kept: list[list[float]] = []
    for one in sorted(found, key=lambda one: -one[4]):
        if all(shared(one, other) <= overlap * (area(one) + area(other) - shared(one, other)) for other in kept):
            kept.append(one)
    return kept


def area(box: list[float], pixel: int = 0) -> float:
    return (box[2] - box[0] + pixel) * (box[3] - box[1] + pixel)


def shared(one: list[float], other: list[float], pixel: int = 0) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0]) + pixel
    height = min(one[3], other[3]) - max(one[1], other[1]) + pixel
    return max(width, 0) * max(height, 0)


def squares(boxes: list[np.ndarray]) -> np.ndarray:
    made = np.array(boxes, float).reshape(-1, 4)
    size = made[:, 2:] - made[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = made[:, :2] + size / 2 - side / 2
    return np.concatenate([corner, corner + side], axis=1)


def resized(pixels: torch.Tensor, box: np.ndarray, size: int) -> torch.Tensor | None:
    """A window whose coordinates count from 1, as far as it lies in the photo."""
    left, top, right, bottom = np.trunc(box).astype(int)
    left, top = max(left, 1), max(top, 1)
    right, bottom = min(right, pixels.shape[3]), min(bottom, pixels.shape[2])
    if right < left or bottom < top:
        return None
    return interpolate(pixels[:, :, top - 1 : bottom, left - 1 : right], size=(size, size), mode="area")
