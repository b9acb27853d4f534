"""How fast a model answers: milliseconds a face, alone and in batches, and the share of the machine's speed in it.

    python -m tests.benchmarks.predict [MODEL [THREADS]]

MODEL is a store of fer train; without one it is the model of the package. `folded` is the network as `fer predict` runs
it; `as trained` has its batch normalisations still. Each figure is the best of some rounds that take turns. The last
is that of a store of crops read, answered in the automatic arithmetic and written as a store of predictions, without
the start; `without the network` is the same with answers that cost nothing, `beside a device` with answers that keep
the processor waiting for nothing else, as a GPU of that speed would.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from fercli import models
from fercli.errors import UsageError
from fercli.learn.device import choose_device, choose_precision
from fercli.learn.infer import BATCH, log_probabilities
from fercli.learn.inputs import Inputs
from fercli.learn.modelstore import Model, load
from fercli.learn.normalise import Normalise
from fercli.models.shipped import model_path
from fercli.ops.image import digests_of
from fercli.stages import predict
from fercli.stages.predict import Predictor, PredictSpec
from fercli.stages.runner import Log
from fercli.store import create_store, objects, open_store

from . import machine

FACES = {"cpu": 1024, "cuda": 262_144}
#: Rows of the store that is answered without the network: so many that its opening does not count.
ROWS = 131_072
DEVICE = 300_000  # faces a second
ROUNDS = 5


def main(path: str = "default", threads: int = torch.get_num_threads()) -> None:
    torch.set_num_threads(int(threads))
    device = choose_device("auto")
    with open_store(model_path(path), "model") as src:
        built = {dtype: load(src, device, dtype) for dtype in map(partial(getattr, torch), machine.precisions(device))}
        try:
            built[torch.int8] = load(src, device, choose_precision("int8", device))
        except UsageError as error:
            print(f"int8 is left out: {error}")
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
    peaks = {name: machine.peak(device, getattr(torch, name)) for name in {name for _, name, _ in runs}}
    print(f"{'network':<12}{'arithmetic':<12}{'batch':>6}{'ms a face':>12}{'faces/s':>12}{'of matrix product':>20}")
    for (form, name, batch), took in best.items():
        share = f"{100 * work / took / peaks[name]:.0f} %" if peaks[name] else "not known"
        print(f"{form:<12}{name:<12}{batch:>6}{1e3 * took:>12.3f}{1 / took:>12,.0f}{share:>20}")
    with tempfile.TemporaryDirectory() as place:
        faces, made = Path(place) / "faces.h5", Path(place) / "predictions.h5"
        write(faces, images.cpu().numpy())
        predictor = Predictor.load(model_path(path), PredictSpec())
        whole = min(labelled(predictor, faces, made) for _ in range(ROUNDS))
        write(faces, images[np.arange(ROWS) % len(images)].cpu().numpy())
        predictor = Predictor.load(model_path(path), PredictSpec(batch=BATCH["cuda"]))
        with mock.patch.object(Model, "answers", staticmethod(partial(answers_at, float("inf")))):
            bare = min(labelled(predictor, faces, made) for _ in range(ROUNDS))
        with (
            mock.patch.object(Model, "answers", staticmethod(partial(answers_at, DEVICE))),
            mock.patch.dict(predict._AHEAD, cpu=predict._AHEAD["cuda"]),  # as where a GPU answers
        ):
            beside = min(labelled(predictor, faces, made) for _ in range(ROUNDS))
    print(
        f"from store to store: {len(images) / whole:,.0f} faces/s; without the network {ROWS / bare:,.0f}, "
        f"beside a device of {DEVICE:,} faces/s {ROWS / beside:,.0f}"
    )


def answers_at(speed: float, inputs: Inputs, batch: int | None) -> list[np.ndarray]:
    """Answers for N rows of a stand-in for a device that makes `speed` of them a second."""
    time.sleep(len(inputs[0]) / speed)
    return [np.full((len(inputs[0]), 7), 1 / 7, np.float32)]


def write(path: Path, images: np.ndarray) -> None:
    """A store of crops as `fer detect` makes it."""
    with create_store(path) as dst:
        dst.start("samples", ("one", "other"), ("gray",))
        for first in range(0, len(images), 1024):
            some = images[first : first + 1024]
            names = objects(f"photos/{number:06}.jpg" for number in range(first, first + len(some)))
            dst.append({"image": some, "source": names, "digest": digests_of(some)})
        dst.document("provenance", [])


def labelled(predictor: Predictor, faces: Path, made: Path) -> float:
    """Seconds from a store of crops to one of predictions."""
    begun = time.perf_counter()
    with open_store(faces) as src, create_store(made) as dst:
        dst.start("predictions", predictor.classes)
        for block in predictor.over_store(src, Log()):
            dst.append(block)
        dst.document("provenance", [])
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(*sys.argv[1:])
