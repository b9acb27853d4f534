"""Faces a second beside deepface and EmotiEffLib: how long until the first answer, a face alone, and 64 together.

    python -m tests.benchmarks.peers FER2013.h5 DEEPFACE EMOTIEFFLIB

FER2013.h5 is a store of 48x48 gray faces with val rows. DEEPFACE is a Python that can import deepface (0.0.103), torch,
onnx and onnxruntime, EMOTIEFFLIB one that can import emotiefflib (1.1.1), timm and the same three. Both fetch their
networks when they are first used; so that nothing is fetched, networks of the same layers with drawn weights lie where
they look for them. How long an answer takes does not depend on the weights; how good it is is no question here. All get
the same crops, as arrays, and find no faces. What runs beside falls on all, as they take turns.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from fercli.store import open_store

from . import machine

FACES, TOGETHER, ROUNDS = 256, 64, 3

_CLOCK = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np

def report(answer, start, crops, together):
    answer(crops[:1])
    first = time.perf_counter() - start
    answer(crops[:together])
    begun = time.perf_counter()
    for number in range(together):
        answer(crops[number : number + 1])
    alone = (time.perf_counter() - begun) / together
    begun = time.perf_counter()
    for number in range(0, len(crops), together):
        answer(crops[number : number + together])
    print(json.dumps([first, 1e3 * alone, 1e3 * (time.perf_counter() - begun) / len(crops)]))

crops, together = np.load(sys.argv[1]), int(sys.argv[2])
start = time.perf_counter()
"""

_FERCLI = """
from fercli.models.shipped import model_path
from fercli.stages.predict import Predictor, PredictSpec

predictor = Predictor.load(model_path(sys.argv[3]), PredictSpec(device="cpu", precision=sys.argv[4]))
report(lambda some: predictor.answering.of_crops(some, np.zeros((len(some), 16), np.uint8)), start, crops, together)
"""

_DEEPFACE = """
os.environ["DEEPFACE_BACKEND_ENGINE"] = "onnx"  # as it is installed by itself
from deepface import DeepFace

colour = [np.repeat(crop[..., None], 3, axis=2) for crop in crops]

def answer(some):
    DeepFace.analyze(list(some), actions=["emotion"], detector_backend="skip", silent=True)

report(answer, start, colour, together)
"""

_EMOTIEFFLIB = """
from emotiefflib.facial_analysis import EmotiEffLibRecognizer

recognizer = EmotiEffLibRecognizer(engine="onnx", model_name="enet_b0_8_best_vgaf")
colour = [np.repeat(crop[..., None], 3, axis=2) for crop in crops]
report(lambda some: recognizer.predict_emotions(list(some)), start, colour, together)
"""

#: The layers of deepface's network, which takes its channel last.
_DRAW_DEEPFACE = """
import sys, torch
from torch import nn

class Network(nn.Sequential):
    def forward(self, images):
        return super().forward(images.permute(0, 3, 1, 2))

network = Network(
    nn.Conv2d(1, 64, 5), nn.ReLU(), nn.MaxPool2d(5, 2),
    nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.AvgPool2d(3, 2),
    nn.Conv2d(64, 128, 3), nn.ReLU(), nn.Conv2d(128, 128, 3), nn.ReLU(), nn.AvgPool2d(3, 2),
    nn.Flatten(), nn.Linear(128, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 7), nn.Softmax(1),
)
image = torch.zeros(1, 48, 48, 1)
"""

_DRAW_EMOTIEFFLIB = """
import sys, timm, torch
network = timm.create_model("tf_efficientnet_b0", num_classes=8).eval()
torch.nn.init.normal_(network.classifier.bias)  # zeros would be shared with another layer's, and not found
image = torch.zeros(1, 3, 224, 224)
"""

_WRITE = """
from torch import nn
torch.onnx.export(network.eval(), (image,), sys.argv[1], input_names=["input"], dynamo=False,
                  dynamic_axes={"input": {0: "rows"}})
counted = 0

def count(layer, _, result):
    global counted
    counted += (result[0].numel() if isinstance(layer, nn.Conv2d) else 1) * layer.weight[0].numel() * (
        1 if isinstance(layer, nn.Conv2d) else len(layer.weight))

for layer in network.modules():
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        layer.register_forward_hook(count)
network(image)
print(counted / 1e6)
"""


def main(store: str, deepface: str, emotiefflib: str) -> None:
    print(f"{machine.describe(torch.device('cpu'))}; {FACES} crops, {TOGETHER} together")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        faces = home / "faces.npy"
        with open_store(store) as src:
            np.save(faces, src.column("image")[np.flatnonzero(src.column("split") == 1)[:FACES]])
        draw(deepface, _DRAW_DEEPFACE, home / ".deepface" / "weights" / "facial_expression_model_weights.onnx")
        draw(emotiefflib, _DRAW_EMOTIEFFLIB, home / ".emotiefflib" / "enet_b0_8_best_vgaf.onnx")
        runs = {
            "default, auto": (sys.executable, _FERCLI, "default", "auto"),
            "default, float32": (sys.executable, _FERCLI, "default", "float32"),
            "fast, auto": (sys.executable, _FERCLI, "fast", "auto"),
            "deepface": (deepface, _DEEPFACE),
            "EmotiEffLib, B0": (emotiefflib, _EMOTIEFFLIB),
        }
        best = {name: [float("inf")] * 3 for name in runs}
        for _ in range(ROUNDS):
            for name, (python, script, *words) in runs.items():
                told = json.loads(run(python, _CLOCK + script, home, faces, TOGETHER, *words).splitlines()[-1])
                best[name] = [min(pair) for pair in zip(best[name], told, strict=True)]
    print(f"{'':<22}{'first answer, s':>16}{'alone, ms':>12}{'together, ms a face':>22}")
    for name, (first, alone, together) in best.items():
        print(f"{name:<22}{first:>16.1f}{alone:>12.2f}{together:>22.2f}")


def draw(python: str, script: str, path: Path) -> None:
    """Writes a network where its program looks for it, and tells how large it is."""
    path.parent.mkdir(parents=True)
    print(f"{path.name}: {float(run(python, script + _WRITE, Path.home(), path)):,.0f} M multiplications a face")


def run(python: str, script: str, home: Path, *words: object) -> str:
    """What a script prints, of which `home` is the home folder."""
    command, environment = [python, "-c", script, *map(str, words)], {**os.environ, "HOME": str(home)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ended.returncode:
        sys.exit(f"{python} failed: {ended.stderr[-2000:]}")
    return ended.stdout


if __name__ == "__main__":
    main(*sys.argv[1:])
