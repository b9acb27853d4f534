"""Seconds an epoch of the njoku network in Keras and here, at batch 32, in one run, and the accuracy that each reaches.

    python -m tests.benchmarks.keras FER2013.h5 PEER [EPOCHS]

FER2013.h5 is a store of 48x48 gray faces with train and val rows, PEER a Python that can import keras (3.15 with
TensorFlow). Both train on the same rows with Adam at 1e-4 from Glorot's first weights and answer the same val rows. An
epoch's time is that of its steps, and the first epoch is left out: Keras traces its functions in it.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from fercli.stages.runner import Log, Silent, run_on_stores
from fercli.stages.train import TrainSpec, stage
from fercli.store import open_store

from . import machine

_PEER = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np
from keras import layers

data = np.load(sys.argv[1])
images, labels, shown, told = (data[name] for name in ("images", "labels", "shown", "told"))
network = keras.Sequential([
    keras.Input((48, 48, 1)),
    layers.Rescaling(1 / 255),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.Conv2D(64, 3, activation="relu"),
    layers.MaxPooling2D(2),
    layers.Dropout(0.25),
    layers.Conv2D(128, 3, activation="relu"),
    layers.MaxPooling2D(2),
    layers.Dropout(0.25),
    layers.Conv2D(256, 3, activation="relu"),
    layers.MaxPooling2D(2),
    layers.Dropout(0.25),
    layers.Flatten(),
    layers.Dense(512, activation="relu"),
    layers.Dropout(0.5),
    layers.Dense(7, activation="softmax"),
])
network.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
seconds = []

class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None):
        seconds.append(time.perf_counter() - self.began)

network.fit(images, labels, batch_size=32, epochs=int(sys.argv[2]), verbose=0, callbacks=[Clock()])
print(json.dumps([network.count_params(), seconds, network.evaluate(shown, told, verbose=0)[1]]))
"""


def main(source: str, peer: str, epochs: str = "2") -> None:
    count = int(epochs)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        print(f"njoku, batch 32, {machine.describe(torch.device('cpu'))}")
        for precision in machine.precisions(torch.device("cpu")):
            told(f"fer train, {precision}", *ours(source, place / f"{precision}.h5", precision, count))
        parameters, seconds, accuracy = theirs(source, place / "rows.npz", peer, count)
        told(f"Keras, {parameters:,} parameters", seconds, accuracy)


def ours(source: str, target: Path, precision: str, epochs: int) -> tuple[list[float], float]:
    """Seconds of each epoch, and the accuracy after the last."""
    spec = TrainSpec(
        model="njoku",
        epochs=epochs,
        batch=32,
        lr=1e-4,
        normalise="unit",
        select="last",
        precision=precision,
        device="cpu",
    )
    clock = Clock()
    run_on_stores(stage(None), [source], str(target), spec, Log("fail", clock), force=True)
    with open_store(target, "model") as model:
        return clock.seconds, float(model.array("history/validation_accuracy")[-1])


class Clock(Silent):
    """Adds up the time from an epoch's first step to its last; the time of the validation after it stays out."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = self._last = 0.0

    def advance(self, rows: int) -> None:
        self._last = time.perf_counter()
        self._began = self._began or self._last

    def note(self, text: str) -> None:
        if text.startswith("epoch ") and " of " not in text:
            self.seconds.append(self._last - self._began)
            self._began = 0.0


def theirs(source: str, rows: Path, peer: str, epochs: int) -> tuple[int, list[float], float]:
    """Parameters, seconds of each epoch, and the accuracy after the last."""
    with open_store(source) as src:
        split, image, label = (src.column(name) for name in ("split", "image", "label"))
    train, val = split == 0, split == 1
    np.savez(rows, images=image[train], labels=label[train], shown=image[val], told=label[val])
    out = subprocess.run([peer, "-c", _PEER, str(rows), str(epochs)], capture_output=True, text=True, check=True)
    return tuple(json.loads(out.stdout.splitlines()[-1]))


def told(what: str, seconds: list[float], accuracy: float) -> None:
    timed = seconds[1:] or seconds
    print(f"{what:<34}{min(timed):7.1f} s an epoch, {100 * accuracy:.2f} % after {len(seconds)} epochs", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
