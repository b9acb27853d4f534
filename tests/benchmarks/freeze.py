"""What computing frozen layers once is worth: seconds an epoch with it and without, on random images.

    python -m tests.benchmarks.freeze [MODEL [SIZE [IMAGES [EPOCHS [THREADS]]]]]

For each number of frozen convolutions the same training runs both ways; the seconds of the computing itself are shown
beside, as they are paid once. The last column says how many epochs it takes until that is earned back.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fercli import models
from fercli.learn import training
from fercli.learn.rows import choose_rows
from fercli.stages.prepare import prepare
from fercli.stages.runner import Log
from fercli.stages.train import TrainSpec
from fercli.store import create_store, open_store

from . import machine

CPU = torch.device("cpu")
LIMIT = training.FROZEN_BYTES


def main(model: str = "njoku", size: int = 48, images: int = 500, epochs: int = 2, threads: int = 1) -> None:
    torch.set_num_threads(threads)
    with torch.device("meta"):
        convolutions = sum(isinstance(layer, nn.Conv2d) for layer in models.build(model, size=size).modules())
    print(f"{model} of {size}x{size}, {images} images, batch 32; {machine.describe(CPU)}")
    print("frozen   anew s/epoch   once s/epoch   gain   computing s   earned back after")
    with tempfile.TemporaryDirectory() as folder:
        data = written(Path(folder) / "data.h5", size, images)
        for count in range(1, convolutions + 1):
            spec = TrainSpec(model=model, epochs=epochs, batch=32, freeze=count, device="cpu")
            anew, _ = seconds(data, spec, limit=0)
            once, computing = seconds(data, spec, limit=LIMIT)
            saved = anew - once
            print(
                f"{count:>6}{anew:>15.2f}{once:>15.2f}{anew / once:>6.1f}x{computing:>14.2f}"
                f"{computing / saved:>14.1f} epochs"
            )


def written(path: Path, size: int, images: int) -> Path:
    """A store of noise, a tenth of it for validation."""
    rng = np.random.Generator(np.random.PCG64([0]))
    with create_store(path) as writer:
        writer.start("samples", ("angry", "happy", "sad"), ("gray",))
        split = (np.arange(images) % 10 == 9).astype(np.int8)
        labels = rng.integers(0, 3, images).astype(np.int16)
        pixels = rng.integers(0, 256, (images, size, size), dtype=np.uint8)
        writer.append({"image": pixels, "label": labels, "split": split})
    return path


def seconds(data: Path, spec: TrainSpec, limit: float) -> tuple[float, float]:
    """Seconds of the fastest epoch, validation included, and of computing the frozen layers once."""
    training.FROZEN_BYTES = limit
    with open_store(data) as src:
        run = prepare(src, choose_rows(src, 0.0, 0), spec, src.shape("image")[0], CPU, Log())
    began = time.perf_counter()
    run.compute_frozen()
    computing, ends = time.perf_counter() - began, [time.perf_counter()]
    ends += [time.perf_counter() for _ in run.epochs(spec.epochs, lambda step: 1e-4, False, lambda rows: None)]
    return min(np.diff(ends)), computing


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
