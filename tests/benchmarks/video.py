"""Frames a second of a video of 640x360 with one face, part by part and as a whole, and peak memory over 10,000 frames.

    python -m tests.benchmarks.video MODEL [CLIP [DETECTOR ...]]

MODEL is a model store for gray faces, or default or fast. Without CLIP a face is drawn that moves before a street of
patches. The parts run one after the other in one thread; the whole is `fer predict` as typed, less the start of the
interpreter, which is what a clip of one frame takes. Tracking is compared with detection in every frame: how far the
boxes overlap, and what OpenCV's own KCF takes for the same, as it comes and on a frame scaled so that the face has 64
px (where OpenCV is the contrib build, which has one).
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from fercli import detectors
from fercli.layouts.video import open_clip
from fercli.models.shipped import model_path
from fercli.ops.geometry import overlap
from fercli.ops.image import to_gray
from fercli.ops.kcf import Kcf
from fercli.ops.synthetic import draw_face
from fercli.stages.detect import DetectSpec, Search
from fercli.stages.predict import Predictor, PredictSpec
from fercli.stages.tracking import Tracker

from .ingest import watch

FRAMES, LONG = 1_000, 10_000
EVERY = 6
SIZE = (640, 360)


def main(model: str, clip: str = "", *chosen: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clip = clip or write_clip(Path(folder) / "drawn.mp4", FRAMES)
        for detector in chosen or (detectors.best(),):
            print(f"{Path(clip).name}, detector {detector}")
            parts(clip, detector, model)
            track(clip, detector)
            whole(clip, detector, model, folder)
        memory(model, folder)


def parts(clip: str, detector: str, model: str) -> None:
    """Each part alone, over frames that are in memory already."""
    frames, seconds = timed(lambda: list(islice(open_clip(clip).frames(), FRAMES)))
    told("decode", len(frames), seconds)
    search = Search(DetectSpec(detector=detector, keep="all"))
    sample = frames[::EVERY]
    told("detect", len(sample), timed(lambda: [search.find(frame.image) for frame in sample])[1])
    seen, seconds = timed(lambda: list(Tracker(search.find, EVERY).follow(frames)))
    told(f"detect every {EVERY}th and track", len(frames), seconds)
    faces = [one for one in seen if len(one.track)]
    found, seconds = timed(lambda: [search.cropped(one.gray, one.faces) for one in faces])
    told("crop", len(faces), seconds)
    predictor = Predictor.load(model_path(model), PredictSpec())
    crops = np.array([one.crops[0] for one in found])
    digests = np.zeros((len(crops), 16), np.uint8)
    answer = predictor.answering.of_crops
    answer(crops[:32], digests[:32])
    parts_of = [slice(start, start + 32) for start in range(0, len(crops), 32)]
    told("classify", len(crops), timed(lambda: [answer(crops[part], digests[part]) for part in parts_of])[1])


def track(clip: str, detector: str) -> None:
    """Trackers that begin anew every EVERY frames, against detection in every frame."""
    frames = [to_gray(frame.image) for frame in islice(open_clip(clip).frames(), 300)]
    found = detectors.load(detector, 32)
    truth = [faces.box[0] if len(faces.box) else None for faces in map(found.detect, frames)]
    makers = {"KCF": _Ours}
    if hasattr(cv2, "TrackerKCF"):
        makers |= {"cv2 KCF, scaled": lambda gray, box: _Cv(gray, box, 64), "cv2 KCF": _Cv}
    for name, make in makers.items():
        shares, times = [], []
        for start in range(0, len(frames) - EVERY, EVERY):
            if truth[start] is None:
                continue
            tracker = make(frames[start], truth[start])
            for frame, box in zip(frames[start + 1 : start + EVERY], truth[start + 1 : start + EVERY], strict=True):
                here, seconds = timed(lambda frame=frame, tracker=tracker: tracker.update(frame))
                times.append(seconds)
                if box is not None:
                    shares.append(float(overlap(here, box)))
        print(
            f"  {name:<28}{1000 * statistics.mean(times):8.2f} ms a frame, overlap with detection "
            f"{statistics.mean(shares):.3f} (lowest twentieth {np.quantile(shares, 0.05):.3f})",
            flush=True,
        )


def whole(clip: str, detector: str, model: str, folder: str) -> None:
    """`fer predict` as typed."""
    frames = sum(1 for _ in open_clip(clip).frames())
    single = write_clip(Path(folder) / "single.mp4", 1)
    words = ["predict", "-q", "-m", model, "--detector", detector, "-o", f"{folder}/rows.jsonl"]
    start = min(watch([*words, single])[0] for _ in range(3))
    seconds = min(watch([*words, clip])[0] for _ in range(3))
    told("whole", frames, seconds - start)


def memory(model: str, folder: str) -> None:
    """Peak memory over a clip that is short and one that is long."""
    for count in (FRAMES, LONG):
        clip = write_clip(Path(folder) / f"{count}.mp4", count)
        seconds, _, peak = watch(["predict", "-q", "-m", model, "-o", f"{folder}/rows.jsonl", clip])
        print(f"  {count:>6,} frames: {seconds:.1f} s, peak memory {peak / 1024:.0f} MB", flush=True)


def write_clip(path: Path, count: int) -> str:
    """A face of 150 px that goes round before patches, 640x360 at 30 frames a second."""
    face = cv2.cvtColor(draw_face(np.random.default_rng(3), "happy", 150), cv2.COLOR_GRAY2BGR)
    patches = np.random.default_rng(4).integers(90, 170, (9, 16, 3), np.uint8)
    background = cv2.resize(patches, SIZE, interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, SIZE)
    for number in range(count):
        x, y = int(245 + 180 * np.cos(number / 40)), int(105 + 80 * np.sin(number / 25))
        frame = background.copy()
        frame[y : y + 150, x : x + 150] = face
        writer.write(frame)
    writer.release()
    return str(path)


class _Ours:
    def __init__(self, gray: np.ndarray, box: np.ndarray) -> None:
        self._tracker = Kcf(gray, box)

    def update(self, gray: np.ndarray) -> np.ndarray:
        self._tracker.update(gray)
        return self._tracker.box


class _Cv:
    """OpenCV's KCF, on frames scaled so that the box has a side of `side` px, if that is given."""

    def __init__(self, gray: np.ndarray, box: np.ndarray, side: int = 0) -> None:
        self._factor = min(1.0, side / box[2:].max()) if side else 1.0
        self._tracker, self._box = cv2.TrackerKCF.create(), box
        self._tracker.init(self._scaled(gray), tuple(np.rint(box * self._factor).astype(int).tolist()))

    def update(self, gray: np.ndarray) -> np.ndarray:
        found, box = self._tracker.update(self._scaled(gray))
        if found:
            self._box = np.array(box) / self._factor
        return self._box

    def _scaled(self, gray: np.ndarray) -> np.ndarray:
        small = cv2.resize(gray, None, fx=self._factor, fy=self._factor, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)


def timed(work: Callable):
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def told(name: str, count: int, seconds: float) -> None:
    print(f"  {name:<28}{count / seconds:8.0f} frames/s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
