"""How hard the drawn faces are: accuracy of a linear model and of a small network on the same 48x48 pixels.

    python -m tests.benchmarks.synthetic [COUNT [EPOCHS [SEED ...]]]

Both learn from the training rows and are scored on the people of the validation and test rows, whom they never saw. The
linear model is ridge regression on standardised images, at the best of several penalties; the network is `njoku`. The
last line tells how many faces of drawn scenes OpenCV's frontal-face cascade finds.
"""

import sys
import time

import cv2
import numpy as np
import torch

from fercli.labels import EMOTIONS
from fercli.layouts import Options, open_source, synthetic
from fercli.models import build
from fercli.ops.synthetic import draw_scene
from fercli.store import block as blocks

PENALTIES = (1e2, 1e3, 3e3, 1e4, 3e4, 1e5)
BATCH = 32


def main(count: int = 2000, epochs: int = 8, *seeds: int) -> None:
    torch.set_num_threads(2)
    for seed in seeds or (0, 1, 2):
        start = time.perf_counter()
        rows = faces(count, seed)
        train = rows["split"] == 0
        print(
            f"seed {seed}: drawn in {time.perf_counter() - start:.1f} s, {train.sum()} rows to learn from", flush=True
        )
        print(f"  linear {linear(rows['image'], rows['label'], train):.3f}", flush=True)
        start = time.perf_counter()
        network(rows["image"], rows["label"], train, epochs, seed)
        print(f"  {time.perf_counter() - start:.1f} s", flush=True)
    print("haar: {} of {} faces found, {} false, in {} scenes".format(*haar(100), 100))


def faces(count: int, seed: int) -> blocks.Block:
    table = synthetic.scan(open_source(f"synthetic:{count}:seed={seed}"), Options())
    return blocks.concatenate(table.blocks(None))


def linear(image: np.ndarray, label: np.ndarray, train: np.ndarray) -> float:
    """Accuracy on the rows that are not `train`."""
    pixels = image.reshape(len(image), -1).astype(np.float64)
    pixels -= pixels.mean(axis=1, keepdims=True)
    pixels /= pixels.std(axis=1, keepdims=True)
    pixels -= pixels[train].mean(axis=0)
    target = np.eye(len(EMOTIONS))[label[train]] - 1 / len(EMOTIONS)
    gram, cross = pixels[train] @ pixels[train].T, pixels[~train] @ pixels[train].T
    answers = (cross @ np.linalg.solve(gram + penalty * np.eye(len(gram)), target) for penalty in PENALTIES)
    return max(float((answer.argmax(axis=1) == label[~train]).mean()) for answer in answers)


def network(image: np.ndarray, label: np.ndarray, train: np.ndarray, epochs: int, seed: int) -> None:
    """Trains njoku with Adam at 1e-3 and prints its accuracy on the other rows after each epoch."""
    torch.manual_seed(seed)
    model = build("njoku").to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    pixels = torch.from_numpy(image).float()[:, None] / 255  # (N, 1, 48, 48)
    pixels = (pixels - pixels.mean()) / pixels.std()
    target, learnt = torch.from_numpy(label).long(), torch.from_numpy(np.flatnonzero(train))
    others = torch.from_numpy(np.flatnonzero(~train))
    for epoch in range(1, epochs + 1):
        model.train()
        for batch in learnt[torch.randperm(len(learnt))].split(BATCH):
            loss = torch.nn.functional.cross_entropy(model(pixels[batch]), target[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = model(pixels[others]).argmax(dim=1) == target[others]
        print(f"  epoch {epoch}: network {right.float().mean():.3f}", flush=True)


def haar(scenes: int) -> tuple[int, int, int]:
    """Faces found, faces drawn and false detections."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = drawn = false = 0
    for number in range(scenes):
        scene = draw_scene(np.random.default_rng(number))
        hits = cascade.detectMultiScale(cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY), 1.1, 5, minSize=(30, 30))
        near = np.array([[overlap(box, hit) > 0.4 for hit in hits] for box in scene.boxes]).reshape(-1, len(hits))
        found, drawn = found + int(near.any(axis=1).sum()), drawn + len(scene.boxes)
        false += int((~near.any(axis=0)).sum())
    return found, drawn, false


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes x y w h."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (box[2] * box[3] + other[2] * other[3] - shared)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
