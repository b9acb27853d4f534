"""What batch normalisations estimated over plain pictures give a model that learnt from augmented ones.

    python -m tests.benchmarks.norms FER2013.h5 [MODEL]

The means and variances that MODEL has are mixed with those of the plain training pictures, in several shares, and the
answers in float32 are compared with the labels of the training pictures that were held out: log loss and accuracy, and
how much of each is the mixing's, with its standard error. That `fer train --precise-bn` takes half was chosen by it.
"""

import sys

import numpy as np
import torch
from torch import nn

from fercli import models
from fercli.learn.batches import Batches
from fercli.learn.calibrate import fit_temperature
from fercli.learn.infer import log_probabilities
from fercli.learn.modelstore import Card, read_card, read_weights
from fercli.learn.normalise import Normalise
from fercli.learn.precise import estimate_norms
from fercli.learn.rows import choose_rows
from fercli.learn.step import Rule
from fercli.models.shipped import model_path
from fercli.store import open_store

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
CPU = torch.device("cpu")


def main(data: str, model: str = "default") -> None:
    with open_store(model_path(model), "model") as src:
        card, stored = read_card(src), {name: torch.from_numpy(one) for name, one in read_weights(src).items()}
        classes, channels = len(src.classes), len(src.channels)
    with open_store(data) as src:
        rows = choose_rows(src, card.spec["holdout"], card.spec["seed"])
        images, labels = src.column("image"), src.column("label").astype("int64")
    network = models.build(card.name, classes, channels, card.size, **card.arguments)
    plain = of_plain(network, stored, card, images[rows.train], labels[rows.train])
    first = None
    for share in SHARES:
        mixed = {name: torch.lerp(one, plain[name], share) for name, one in stored.items() if "running" in name}
        network.load_state_dict(stored | mixed)
        losses, right = answered(network, card, images[rows.validation], labels[rows.validation])
        first = first or (losses, right)
        changes = [told(after - before) for before, after in zip(first, (losses, right), strict=True)]
        print(f"{share:.2f} plain: log loss {losses.mean():.4f} ({changes[0]})", end="")
        print(f", accuracy {right.mean():.4f} ({changes[1]})", flush=True)


def of_plain(
    network: nn.Module, stored: dict[str, torch.Tensor], card: Card, images: np.ndarray, labels: np.ndarray
) -> dict[str, torch.Tensor]:
    """The weights `stored`, with the means and variances over `images` (N, S, S) as they are."""
    network.load_state_dict(stored)
    network.to(memory_format=torch.channels_last)
    rule = Rule(network, Normalise(card.mean, card.deviation), torch.optim.SGD(network.parameters()), nn.Identity())
    estimate_norms(rule, Batches((images,), labels, batch=card.spec["batch"], seed=0, device=CPU), 1)
    return {name: values.clone() for name, values in network.state_dict().items()}


def answered(network: nn.Module, card: Card, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log loss (nats), under the temperature that is best for them, of each row (N,); whether it is right, 0 or 1."""
    logits = log_probabilities(network, Normalise(card.mean, card.deviation), (images,))
    scaled = torch.from_numpy(logits / fit_temperature(logits, labels)).log_softmax(1).numpy()
    return -scaled[np.arange(len(labels)), labels], (scaled.argmax(1) == labels).astype(float)


def told(change: np.ndarray) -> str:
    """A mean over rows (N,) with its standard error."""
    return f"{change.mean():+.4f}, standard error {change.std() / len(change) ** 0.5:.4f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
