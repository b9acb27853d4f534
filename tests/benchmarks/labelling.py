"""Photos a second of labelling a folder, with its other outputs, part by part, and beside the package `fer`.

    python -m tests.benchmarks.labelling MODEL PHOTOS [DETECTORS [PEER]]

MODEL is a model store for gray faces, or default or fast, PHOTOS a folder of photos, DETECTORS such as haar,mtcnn, and
PEER a Python that can import `fer` (25.10 with TensorFlow and OpenCV 4), whose `FER().detect_emotions` is called for
one photo after the other. The photos are repeated, some of them cut or at half size, to COUNT. All look for faces of 50
px and more, as `fer` does with the Haar cascade; the start of the interpreters is told apart. The photos decide the
figures, and so does what else the machine does: compare within one run only.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fercli.models.shipped import model_path
from fercli.ops import draw
from fercli.ops.image import decode, encode
from fercli.stages.annotate import faces_of
from fercli.stages.detect import DetectSpec, Search
from fercli.stages.predict import Predictor, PredictSpec

from .ingest import watch

COUNT, SAMPLE = 240, 40
MIN_FACE = 50
_PEER = """
import glob, json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
start = time.perf_counter()
import cv2
from fer.fer import FER
detector = FER()
paths = sorted(glob.glob(sys.argv[1] + "/*"))
detector.detect_emotions(cv2.imread(paths[0]))
began = time.perf_counter()
faces = sum(len(detector.detect_emotions(cv2.imread(path))) for path in paths)
print(json.dumps([began - start, time.perf_counter() - began, faces]))
"""


def main(model: str, photos: str, chosen: str = "haar", peer: str = "") -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        paths = repeated(photos, place / "photos")
        for detector in chosen.split(","):
            print(f"detector {detector}")
            parts(model, detector, paths[:SAMPLE])
            whole(model, detector, place, len(paths))
        if peer:
            beside(peer, model, chosen.split(","), place, len(paths))


def repeated(photos: str, folder: Path) -> list[Path]:
    """COUNT photos: those of a folder as they are, at half size, and cut to their upper left 3/4, in turn."""
    folder.mkdir()
    files = sorted(path for path in Path(photos).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    made = []
    for number in range(COUNT):
        data, turn = files[number % len(files)].read_bytes(), number // len(files) % 3
        if turn:
            image = decode(data)
            height, width = image.shape[:2]
            half = turn == 1
            image = cv2.resize(image, (width // 2, height // 2)) if half else image[: height * 3 // 4, : width * 3 // 4]
            data = encode(image, ".jpg")
        made.append(folder / f"{number:04}.jpg")
        made[-1].write_bytes(data)
    return made


def parts(model: str, detector: str, paths: Sequence[Path]) -> None:
    """Milliseconds a photo of each step, alone in one thread."""
    cv2.setNumThreads(1)
    predictor = Predictor.load(model_path(model), PredictSpec(detector=detector))
    search = Search(DetectSpec(detector=detector, keep="all", min_face=MIN_FACE))
    search.find(decode(paths[0].read_bytes()))  # which loads the detector
    files = [path.read_bytes() for path in paths]
    images = timed("decode", files, decode)
    faces = timed("detect", images, search.find)
    found = timed("crop", list(zip(images, faces, strict=True)), lambda pair: cropped(search, *pair))
    crops = [crop for one in found for crop in one]
    digests = np.zeros((len(crops), 16), np.uint8)
    start = time.perf_counter()
    predictor.answering.of_crops(np.array(crops), digests)
    told("classify (faces together)", time.perf_counter() - start, len(paths))
    row = {"status": "ok", "label": predictor.classes[0], "probabilities": dict.fromkeys(predictor.classes, 0.1)}
    rows = [[{**row, "box": box.tolist()} for box in one.box] for one in faces]
    drawn = timed("draw", list(zip(images, rows, strict=True)), lambda pair: draw.annotated(pair[0], faces_of(pair[1])))
    timed("encode", drawn, lambda picture: encode(picture, ".jpg"))
    cv2.setNumThreads(-1)


def cropped(search: Search, image: np.ndarray, faces: Any) -> list[np.ndarray]:
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return search.cropped(gray, faces).crops if len(faces.box) else []


def timed(what: str, items: Sequence[Any], work: Callable[[Any], Any]) -> list[Any]:
    start = time.perf_counter()
    made = [work(item) for item in items]
    told(what, time.perf_counter() - start, len(items))
    return made


def told(what: str, seconds: float, photos: int) -> None:
    print(f"{what:<34}{1000 * seconds / photos:9.1f} ms a photo", flush=True)


def whole(model: str, detector: str, place: Path, count: int) -> None:
    """The command as typed, less what it takes for one photo: mostly its start."""
    base = ["predict", "-q", "-m", model, "--detector", detector, "--min-face", str(MIN_FACE)]
    folder, place = str(place / "photos"), place / detector
    place.mkdir()
    rows = str(place / "rows.jsonl")
    first = next(Path(folder).iterdir())
    start = min(watch([*base, str(first), "-o", rows])[0] for _ in range(3))
    print(f"{'start, and one photo':<34}{start:9.2f} s")
    for what, words in {
        "rows": ["-o", rows],
        "rows and pictures": ["-o", rows, "--annotate", str(place / "pictures")],
        "rows and contact sheet": ["-o", rows, "--contact-sheet", str(place / "sheet.png")],
        "rows and sorted copies": ["-o", rows, "--sort-into", str(place / "sorted")],
        "resumed from nothing": ["--resume", str(place / "resumed.jsonl")],
    }.items():
        seconds, _, peak = watch([*base, folder, *words])
        rate(what, count, seconds - start, peak)
    seconds = watch([*base, folder, "--resume", str(place / "resumed.jsonl")])[0]
    print(f"{'resumed when all is done':<34}{seconds:9.2f} s")
    faces = Path(rows).read_text().count('"ok"')
    print(f"{'faces':<34}{faces:9,}", flush=True)


def rate(what: str, count: int, seconds: float, peak: int) -> None:
    print(f"{what:<34}{count / seconds:9.1f} photos/s{peak / 1024:8.0f} MB", flush=True)


def beside(peer: str, model: str, detectors: Sequence[str], place: Path, count: int) -> None:
    """The whole run of each, start and all, in turn and twice, so that what else the machine does falls on all."""
    print("in turn with fer (peer), each with its start")
    for _ in range(2):
        for detector in detectors:
            words = ["predict", "-q", "-m", model, "--detector", detector, "--min-face", str(MIN_FACE)]
            seconds, _, peak = watch([*words, str(place / "photos"), "-o", str(place / "rows.jsonl")])
            rate(detector, count, seconds, peak)
        out = subprocess.run([peer, "-c", _PEER, str(place / "photos")], capture_output=True, text=True, check=True)
        start, seconds, faces = json.loads(out.stdout.splitlines()[-1])
        print(
            f"{'fer (peer)':<34}{count / (start + seconds):9.1f} photos/s, {faces} faces, start {start:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
