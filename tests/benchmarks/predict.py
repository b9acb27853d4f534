"""How fast a model answers: milliseconds a face, alone and in batches, and the share of the machine's speed in it.

    python -m tests.benchmarks.predict [MODEL [THREADS]]

MODEL is a store of fer train; without one it is the model of the package. `folded` is the network as `fer predict` runs
it; `as trained` has its batch normalisations still. Each figure is the best of some rounds that take turns.
"""

import sys

import numpy as np
import torch

from fercli import models
from fercli.learn.device import choose_device
from fercli.learn.infer import BATCH, log_probabilities
from fercli.learn.modelstore import load
from fercli.learn.normalise import Normalise
from fercli.models.shipped import model_path
from fercli.store import open_store

from . import machine

FACES = {"cpu": 1024, "cuda": 262_144}
ROUNDS = 5


def main(path: str = "default", threads: int = torch.get_num_threads()) -> None:
    torch.set_num_threads(int(threads))
    device = choose_device("auto")
    with open_store(model_path(path), "model") as src:
        built = {dtype: load(src, device, dtype) for dtype in (torch.float32, torch.bfloat16)}
        card = built[torch.float32].card
        network = models.build(card.name, len(src.classes), len(src.channels), card.size, **card.arguments)
    whole = network.to(device, memory_format=torch.channels_last).eval()
    work = machine.operations(whole, (len(built[torch.float32].channels), card.size, card.size))
    print(f"{card.name}, {work / 2e6:,.0f} M multiplications a face; {machine.describe(device)}")
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (FACES[device.type], card.size, card.size), dtype=np.uint8))
    images = images.to(device)
    runs = {("as trained", "float32", BATCH[device.type]): (whole, Normalise(card.mean, card.deviation).to(device))}
    for dtype, model in built.items():
        name = str(dtype).removeprefix("torch.")
        for batch in (1, 8, BATCH["cpu"], 128, BATCH["cuda"], *([8192] if device.type == "cuda" else [])):
            runs["folded", name, batch] = model.network, model.normalise
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for (form, name, batch), (network, normalise) in runs.items():
            rows = images[: min(len(images), max(batch, 64 if batch < 8 else batch * 32))]
            took = machine.seconds(lambda: log_probabilities(network, normalise, (rows,), batch), device)  # noqa: B023
            best[form, name, batch] = min(best[form, name, batch], took / len(rows))
    peaks = {name: machine.peak(device, getattr(torch, name)) for name in ("float32", "bfloat16")}
    print(f"{'network':<12}{'arithmetic':<12}{'batch':>6}{'ms a face':>12}{'faces/s':>12}{'of matrix product':>20}")
    for (form, name, batch), took in best.items():
        share = work / took / peaks[name]
        print(f"{form:<12}{name:<12}{batch:>6}{1e3 * took:>12.3f}{1 / took:>12,.0f}{100 * share:>18.0f} %")


if __name__ == "__main__":
    main(*sys.argv[1:])
