"""How fast the njoku network trains here, in images a second, on random images.

    python -m tests.benchmarks.train [ROUNDS [BATCH [THREADS]]]

A bare loop of a few lines beside the loop of `fer train`, in both memory layouts and in float32 and bfloat16, where the
hardware has that; on the GPU where there is one (there `fer train` with steps captured as graphs, too). Each has its
share of the limit of the machine: of the images a second if the operations of a step went at the speed of a large
matrix product and its bytes at that of a large copy, whichever takes longer. Each figure is the best of some rounds
that take turns, as other work on the machine only ever slows a round down.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from fercli import models
from fercli.learn.batches import Batches
from fercli.learn.device import choose_device
from fercli.learn.loop import train
from fercli.learn.normalise import Normalise
from fercli.learn.optimizer import make_optimizer
from fercli.learn.step import Rule

from . import machine

IMAGES = 2000
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def main(rounds: int = 3, batch: int = 32, threads: int = torch.get_num_threads()) -> None:
    torch.set_num_threads(threads)
    device = choose_device("auto")
    rng = np.random.Generator(np.random.PCG64([0]))
    images, labels = rng.integers(0, 256, (IMAGES, 48, 48), dtype=np.uint8), rng.integers(0, 7, IMAGES)
    print(f"njoku, batch {batch}; {machine.describe(device)}")
    runs: dict[tuple[str, ...], Callable[[], None]] = {}
    for precision in machine.precisions(device):
        for layout in LAYOUTS:
            loops = {"bare loop": bare, "fer train": ours}
            if device.type == "cuda":
                loops["captured"] = partial(ours, graphs=True)
            for name, loop in loops.items():
                runs[precision, layout, name] = loop(
                    images, labels, batch, device, LAYOUTS[layout], precision == "bfloat16"
                )
    limits = {precision: limit(device, precision, batch) for precision in machine.precisions(device)}
    for names, rate in best_rates(runs, rounds).items():
        share = rate / limits[names[0]]
        print("  {:<10}{:<15}{:<12}".format(*names) + f"{rate:>8,.0f} images/s{100 * share:>5.0f} % of the limit")


def limit(device: torch.device, precision: str, batch: int) -> float:
    """Images a second at which the machine would multiply or move what a step needs, the slower of the two."""
    dtype, network, shape = getattr(torch, precision), models.build("njoku"), (1, 48, 48)
    work = 3 * batch * machine.operations(network, shape)  # the way back takes twice the way there
    moved = machine.traffic(network, shape, batch, dtype.itemsize)
    peak, bandwidth = machine.peak(device, dtype), machine.bandwidth(device)
    print(
        f"  {precision:<10}a step: {work / 1e9:,.1f} GFLOP and {moved / 1e6:,.0f} MB; the machine: "
        f"{peak / 1e9:,.0f} GFLOP/s and {bandwidth / 1e9:,.0f} GB/s"
    )
    return batch / max(work / peak, moved / bandwidth)


def best_rates(runs: dict[tuple[str, ...], Callable[[], None]], rounds: int) -> dict[tuple[str, ...], float]:
    """Images a second of the fastest round of each run, each of which goes through all images once."""
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return {name: IMAGES / best for name, best in seconds.items()}


def network_in(layout: torch.memory_format, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return models.build("njoku").to(device, memory_format=layout)


def bare(
    images: np.ndarray,
    labels: np.ndarray,
    batch: int,
    device: torch.device,
    layout: torch.memory_format,
    bfloat16: bool,
) -> Callable[[], None]:
    """The least that an epoch takes: float images on the device, in order, nothing measured."""
    network = network_in(layout, device).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
    pixels = (torch.from_numpy(images).unsqueeze(1).float() / 255).to(device, memory_format=layout)
    answers = torch.from_numpy(labels).to(device)

    def epoch() -> None:
        for start in range(0, IMAGES, batch):
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                logits = network(pixels[start : start + batch])
                loss = nn.functional.cross_entropy(logits, answers[start : start + batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return epoch


def ours(
    images: np.ndarray,
    labels: np.ndarray,
    batch: int,
    device: torch.device,
    layout: torch.memory_format,
    bfloat16: bool,
    graphs: bool = False,
) -> Callable[[], None]:
    """An epoch of `fer train`, validated on one image."""
    network = network_in(layout, device)
    optimizer = make_optimizer("adam", network.parameters(), 1e-4, momentum=0.9, beta2=0.999, weight_decay=0.0)
    rule = Rule(network, Normalise([0.0], [255.0]).to(device), optimizer, nn.CrossEntropyLoss(), bfloat16)
    batches = Batches((images,), labels, batch=batch, seed=0, device=device)

    def epoch() -> None:
        shown = (images[:1],), labels[:1]
        for _ in train(rule, batches, shown, epochs=(1,), rate=lambda step: 1e-4, graphs=graphs):
            pass

    return epoch


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
