"""Images a second on one core: decode, gradients, HOG, augmentation, detection.

    python -m tests.benchmarks.ops [ROWS]

The images are drawn faces of 48x48 px, and scenes of 480x360 px for the detector.
"""

import sys
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from fercli import detectors
from fercli.labels import EMOTIONS
from fercli.ops.augment import Recipe, augment
from fercli.ops.gradients import MAPPINGS, OPERATORS, gradients
from fercli.ops.hog import hog
from fercli.ops.image import decode, digest, header
from fercli.ops.synthetic import draw_face, draw_scene


def measure(name: str, count: int, work: Callable[[], object]) -> None:
    """Prints the rate at which `work`, which handles `count` images, uses the processor: the best of three runs."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    print(f"{name:<28}{count / min(spent):>12,.0f} images/s{min(spent) / count * 1e6:>12.1f} us each")


def main(arguments: Sequence[str]) -> None:
    rows = int(arguments[0]) if arguments else 10_000
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    few = np.stack([draw_face(rng, EMOTIONS[k % len(EMOTIONS)]) for k in range(200)])
    faces = few[np.arange(rows) % len(few)]
    files = [cv2.imencode(".jpg", face)[1].tobytes() for face in few]
    files = [files[row % len(files)] for row in range(rows)]
    scenes = [draw_scene(rng).image for _ in range(20)]
    recipe = Recipe(scale=0.1, rotation=15, width_shift=0.1, height_shift=0.1, zoom=0.1, horizontal_flip=0.5)
    haar = detectors.load("haar", 24)

    measure("header", rows, lambda: [header(data) for data in files])
    measure("decode", rows, lambda: [decode(data) for data in files])
    measure("digest", rows, lambda: [digest(face) for face in faces])
    for operator in OPERATORS:
        for mapping in MAPPINGS:
            measure(f"gradients {operator} {mapping}", rows, lambda o=operator, m=mapping: gradients(faces, o, m))
    measure("hog", rows, lambda: hog(faces))
    measure("augment", rows, lambda: augment(faces, recipe, np.arange(rows), 0))
    measure("detect haar 480x360", len(scenes), lambda: [haar.detect(scene) for scene in scenes])


if __name__ == "__main__":
    main(sys.argv[1:])
