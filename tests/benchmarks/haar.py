"""The detector haar beside OpenCV's own search with the same cascade: time, faces found and missed, false ones.

    python -m tests.benchmarks.haar FACES.h5 PHOTOS

FACES.h5 is a store of face crops such as FER2013's, PHOTOS a folder with pictures and clips that show no face. The
crops are laid at known places and sizes over those pictures, so most are tight and without hair: the share found is
below that in photos. Times are processor time on one thread, which other programs disturb little.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from fercli.detectors import haar
from fercli.ops.geometry import overlap, scaled, shrink
from fercli.ops.image import decode, to_gray
from fercli.store import open_store

SCENES, WIDTH, HEIGHT = 60, 1600, 900
SMALLEST, LARGEST, MIN_FACE = 60, 420, 50
#: Ends of the sizes (px) for which the share found is told apart.
SIZES = (60, 90, 140, 220, LARGEST + 1)
#: Names of the photos without a face.
BARE = ("free-mountain-vector-01.jpg", "no_face.mp4")
#: Tries to lay a face where none lies yet.
TRIES = 60


def main(faces: str, photos: str) -> None:
    cv2.setNumThreads(1)
    random = np.random.default_rng(0)
    bare = [cv2.resize(image, (WIDTH, HEIGHT)) for name in BARE for image in pictures(Path(photos) / name)]
    with open_store(faces) as store:
        crops = store.column("image")
    scenes = [scene(random, bare, crops) for _ in range(SCENES)]
    count = sum(len(box) for _, box in scenes)
    print(f"{SCENES} scenes of {WIDTH}x{HEIGHT} with {count:,} faces; OpenCV {cv2.__version__}")
    print(f"{'':<8}{'ms':>6}{'ms bare':>9}{'found of each size':>28}{'found':>8}{'false':>7}{'IoU':>7}")
    own = haar.Detector(MIN_FACE)
    told("OpenCV", opencv(), scenes, bare)
    told("haar", lambda image: own.detect(image).box, scenes, bare)


def pictures(path: Path) -> list[np.ndarray]:
    """The gray picture of a photo, or every fortieth frame of a clip."""
    if path.suffix != ".mp4":
        return [to_gray(decode(path.read_bytes()))]
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY))
    return frames[::40]


def scene(random: np.random.Generator, bare: Sequence[np.ndarray], crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture with faces, and their boxes (n, 4): as many as find a free place in TRIES."""
    image, boxes = bare[random.integers(len(bare))].copy(), np.zeros((0, 4), int)
    for _ in range(TRIES):
        side = int(np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST))))
        x, y = random.integers(0, WIDTH - side), random.integers(0, HEIGHT - side)
        if overlap(np.array([x, y, side, side]), boxes).any():
            continue
        crop = cv2.resize(crops[random.integers(len(crops))], (side, side), interpolation=cv2.INTER_CUBIC)
        image[y : y + side, x : x + side] = crop
        boxes = np.vstack([boxes, [x, y, side, side]])
    return image, boxes


def opencv() -> Callable[[np.ndarray], np.ndarray]:
    """OpenCV's search as it is commonly called, in a picture of the same size."""
    cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_default.xml")

    def find(image: np.ndarray) -> np.ndarray:
        small, factor = shrink(image, haar.LONGEST)
        least = round(MIN_FACE / factor)
        box = cascade.detectMultiScale(small, scaleFactor=1.1, minNeighbors=5, minSize=(least, least))
        return scaled(np.array(box, float).reshape(-1, 4), factor)

    return find


def told(
    name: str,
    find: Callable[[np.ndarray], np.ndarray],
    scenes: Sequence[tuple[np.ndarray, np.ndarray]],
    bare: Sequence[np.ndarray],
) -> None:
    begun = time.process_time()
    false = sum(len(find(image)) for image in bare)
    between = time.process_time()
    found = [find(image) for image, _ in scenes]
    ended = time.process_time()
    best, side = [], []
    for (_, true), box in zip(scenes, found, strict=True):
        best.append(overlap(true[:, None], box).max(axis=1, initial=0))
        side.append(true[:, 2])
        false += (overlap(box[:, None], true).max(axis=1, initial=0) < 0.3).sum()
    best, side = np.concatenate(best), np.concatenate(side)
    hit, size = best >= 0.4, np.digitize(side, SIZES)
    shares = "".join(f"{100 * hit[size == one].mean():7.1f}" for one in range(1, len(SIZES)))
    print(
        f"{name:<8}{1000 * (ended - between) / len(scenes):>6.0f}{1000 * (between - begun) / len(bare):>9.0f}"
        f"{shares}{hit.sum():>8}{false:>7}{best[hit].mean():>7.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
