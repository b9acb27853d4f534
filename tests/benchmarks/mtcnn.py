"""MTCNN beside facenet-pytorch's, in one run over the same photos: photos a second, and whether the boxes agree.

    python -m tests.benchmarks.mtcnn PHOTOS [SECONDS]

PHOTOS is a folder of photos; crowds are made of them by tiling. facenet-pytorch and torchvision must be installed
(pip install --no-deps facenet-pytorch torchvision pillow). Both search for faces of 20 px and more, which is its
default, and keep all. It has one photo a call on all cores, as a call takes photos of one size only; we have a photo a
thread, as `fer detect` does. Rounds take turns, and the best of each counts. The second ratio is of the
processor time on one thread each, which other processes on the machine disturb less.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from fercli import detectors
from fercli.ops.geometry import overlap
from fercli.ops.image import decode
from fercli.ops.parallel import cores, ordered_map
from fercli.stages.detect import DetectSpec, Search

MIN_FACE, LARGE = 20, 40
#: Searches for each photo in a round.
REPEATS = 4


class Row(NamedTuple):
    """One photo's figures: milliseconds, faces found, their faces of 40 px and more, and how many we have, too."""

    name: str
    clock: tuple[float, float]  # theirs, ours
    core: tuple[float, float]
    faces: tuple[int, int]
    large: int
    agreeing: int


def main(arguments: Sequence[str]) -> None:
    from facenet_pytorch import MTCNN

    peer = MTCNN(keep_all=True, min_face_size=MIN_FACE, device="cpu")
    seconds = float(arguments[1]) if len(arguments) > 1 else 3.0
    search = Search(DetectSpec(detector="mtcnn", min_face=MIN_FACE))
    print(f"{cores()} cores, torch {torch.__version__}, faces of {MIN_FACE} px and more")
    print(f"{'photo':<34}{'peer ms':>9}{'ours ms':>9}{'ratio':>7}{'on one core':>13}  faces   large, agreeing")
    rows = []
    for name, photo in photos(Path(arguments[0])).items():
        rows.append(measured(name, photo, lambda one: theirs(peer, one), search.find, seconds))
        row = rows[-1]
        print(
            f"{name:<34}{row.clock[0]:>9.1f}{row.clock[1]:>9.1f}{row.clock[0] / row.clock[1]:>7.2f}"
            f"{row.core[0] / row.core[1]:>13.2f}  {row.faces[0]:>3} {row.faces[1]:>3}   {row.agreeing} of {row.large}",
            flush=True,
        )
    clock, core = (np.array([getattr(row, kind) for row in rows]).sum(axis=0) for kind in ("clock", "core"))
    print(
        f"all photos: {clock[0] / clock[1]:.2f} times as many a second, {core[0] / core[1]:.2f} on one core; ", end=""
    )
    print("boxes agree (IoU 0.9) for ", end="")
    print(f"{sum(row.agreeing for row in rows)} of {sum(row.large for row in rows)} faces of {LARGE} px and more")


def measured(
    name: str,
    photo: np.ndarray,
    peer: Callable[[np.ndarray], np.ndarray],
    find: Callable[[np.ndarray], detectors.Faces],
    seconds: float,
) -> Row:
    box, found = peer(photo), find(photo).box
    best, started = [np.inf, np.inf], time.perf_counter()
    while time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        for _ in range(REPEATS):
            peer(photo)
        between = time.perf_counter()
        list(ordered_map(find, [photo] * REPEATS))
        ended = time.perf_counter()
        best = [min(best[0], between - begun), min(best[1], ended - between)]
    large = box[box[:, 2:].max(axis=1, initial=0) >= LARGE]
    agreeing = (overlap(large[:, None], found).max(axis=1, initial=0) >= 0.9).sum()
    clock = tuple(1000 * spent / REPEATS for spent in best)
    return Row(name, clock, on_one_core(photo, peer, find), (len(box), len(found)), len(large), int(agreeing))


def on_one_core(photo: np.ndarray, *finders: Callable[[np.ndarray], object]) -> tuple[float, ...]:
    """Milliseconds of processor time that each takes on one thread: the best of REPEATS."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    best = [np.inf] * len(finders)
    for _ in range(REPEATS):
        for place, find in enumerate(finders):
            begun = time.process_time()
            find(photo)
            best[place] = min(best[place], 1000 * (time.process_time() - begun))
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    return tuple(best)


def theirs(peer: object, photo: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) x, y, width, height that the peer finds."""
    box = peer.detect(photo)[0]
    box = np.zeros((0, 4)) if box is None else box.astype(float)
    return np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)


def photos(folder: Path) -> dict[str, np.ndarray]:
    """The photos of a folder in RGB, and crowds: each photo four times side by side, at three sizes."""
    made = {}
    for path in sorted(folder.glob("*.jpg")):
        photo = decode(path.read_bytes())
        made[path.name] = photo if photo.ndim == 3 else cv2.cvtColor(photo, cv2.COLOR_GRAY2RGB)
    for name, photo in list(made.items()):
        for factor in (0.33, 0.47, 0.61):
            small = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            made[f"{name} at {factor}, 2x2"] = np.tile(small, (2, 2, 1))
    return made


if __name__ == "__main__":
    main(sys.argv[1:])
