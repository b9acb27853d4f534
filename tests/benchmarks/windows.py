"""Training rows that memory does not hold: how fast an epoch's batches come, and the peak memory of getting them.

    python -m tests.benchmarks.windows [ROWS]

A store of so many random faces of 48x48 px (2,000,000 of them are 4.6 GB, more than is held) is written to the
temporary folder, and one epoch of it is gathered in batches of 1,024, as training would, without a network.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from fercli.learn.batches import Batches
from fercli.learn.stored import Stored, read_inputs
from fercli.store import open_store

from .memory import write_faces


def main(rows: int = 2_000_000) -> None:
    with tempfile.TemporaryDirectory() as folder, open_store(write_faces(Path(folder) / "faces.h5", rows)) as src:
        inputs = read_inputs(src, ["image"], np.arange(rows))
        labels = src.column("label").astype(np.int64)
        batches = Batches(inputs, labels, batch=1024, seed=0, device=torch.device("cpu"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        order, first = batches.order(1), 0
        for size in batches.sizes:
            batches.gather(order[first : first + size], {})
            first += size
        batches.close()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        how = "in windows" if isinstance(inputs[0], Stored) else "from memory"
        print(
            f"{rows:,} rows {how}: {rows / seconds:,.0f} rows/s, peak {before / 1024:,.0f} then {peak / 1024:,.0f} MB"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
