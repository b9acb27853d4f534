"""Where a face lies in the crops of a data set: the template of --align comes from it, and the margins of detectors.

    python -m tests.benchmarks.framing FER2013.h5 [ROWS]

FER2013.h5 is a store of 48x48 crops. Each is enlarged to 192 px with a border of its edge px, searched with haar and
mtcnn, and measured where exactly one face was found; the figures are medians, in shares of the crop.
"""

import sys
from collections.abc import Sequence

import cv2
import numpy as np

from fercli import detectors
from fercli.store import open_store

SIDE, BORDER = 192, 48
#: The points of `Faces.landmark`.
_POINTS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")


def main(arguments: Sequence[str]) -> None:
    with open_store(arguments[0]) as src:
        rows = np.linspace(0, src.rows - 1, int(arguments[1]) if len(arguments) > 1 else 1000).astype(int)
        faces = np.concatenate([block["image"] for block in src.blocks(["image"], rows)])
    photos = [
        cv2.copyMakeBorder(
            cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), *[BORDER] * 4, cv2.BORDER_REPLICATE
        )
        for face in faces
    ]
    for name in ("haar", "mtcnn"):
        detector = detectors.load(name, SIDE // 3)
        found = [one for one in map(detector.detect, photos) if len(one.box) == 1]
        box = (np.concatenate([one.box for one in found]) - [BORDER, BORDER, 0, 0]) / SIDE
        centre, side = box[:, :2] + box[:, 2:] / 2, box[:, 2:].max(axis=1)
        print(f"{name}: one face in {len(found)} of {len(photos)}")
        print(f"  longer side of the box {np.median(side):.3f}, so a margin of {(1 / np.median(side) - 1) / 2:.3f}")
        print(f"  its middle at {np.median(centre[:, 0]):.3f}, {np.median(centre[:, 1]):.3f}")
        if detector.has_landmarks:
            landmark = (np.concatenate([one.landmark for one in found]) - BORDER) / SIDE
            spread = np.percentile(landmark, [16, 84], axis=0)
            for point, middle, low, high in zip(_POINTS, np.median(landmark, axis=0), *spread, strict=True):
                print(f"  {point:<18} {middle[0]:.3f}, {middle[1]:.3f}  (two thirds: {low.round(2)} {high.round(2)})")


if __name__ == "__main__":
    main(sys.argv[1:])
