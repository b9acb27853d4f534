"""Peak memory and seconds of the commands that stream, over stores of 30,000 and 300,000 faces: the peak stays flat.

    python -m tests.benchmarks.memory MODEL

MODEL is a model store for gray faces of 48x48 px, or default or fast. The stores need 4 GB in the temporary folder.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from fercli.labels import EMOTIONS
from fercli.store import create_store, objects

from .ingest import watch

ROWS = (30_000, 300_000)
_BLOCK = 10_000


def main(model: str) -> None:
    commands = {
        "gradients": ["gradients"],
        "augment": ["augment", "--rotation", "10"],
        "split": ["split", "--folds", "10"],
        "predict": ["predict", "-m", model],
    }
    with tempfile.TemporaryDirectory() as folder:
        for rows in ROWS:
            faces = write_faces(Path(folder) / f"{rows}.h5", rows)
            for name, words in commands.items():
                seconds, _, peak = watch([*words, "--force", "-q", str(faces), "-o", f"{folder}/out.h5"])
                print(f"{name:<12}{rows:>10,} rows{seconds:9.2f} s{peak / 1024:8.0f} MB", flush=True)


def write_faces(path: Path, rows: int) -> Path:
    """A store of training rows with random pixels."""
    with create_store(path) as store:
        store.start("samples", EMOTIONS, ("gray",))
        for start in range(0, rows, _BLOCK):
            rng, count = np.random.default_rng(start), min(_BLOCK, rows - start)
            store.append(
                {
                    "image": rng.integers(0, 256, (count, 48, 48), np.uint8),
                    "label": (np.arange(start, start + count) % len(EMOTIONS)).astype(np.int16),
                    "source": objects(f"face/{row}.png" for row in range(start, start + count)),
                    "digest": rng.integers(0, 256, (count, 16), np.uint8),
                }
            )
        store.document("provenance", [])
    return path


if __name__ == "__main__":
    main(*sys.argv[1:])
