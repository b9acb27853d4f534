"""Probabilities of images under a network: float32, no dropout, no randomness."""

import numpy as np
import torch
from torch import nn

from .normalise import Normalise

#: Images a forward pass. On a CPU more of them only leave its caches, and the activations stay small.
BATCH = 32


@torch.inference_mode()
def log_probabilities(network: nn.Module, normalise: Normalise, images: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """(N, K) float32, natural logarithms of the class probabilities of images (N, H, W[, C]) uint8.

    Runs where `network` and `normalise` are. The network is left in evaluation mode. The last bits of a row may differ
    with the number of rows it runs beside, since libraries choose their kernels by it.
    """
    network.eval()
    device = normalise.mean.device
    answers = [
        network(normalise(torch.from_numpy(images[start : start + batch]).to(device))).log_softmax(1)
        for start in range(0, len(images), batch)
    ]
    return torch.cat(answers).float().cpu().numpy()


def loss_and_accuracy(log_probability: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy (nats) and share of right answers, from (N, K) log-probabilities and (N,) labels."""
    loss = 0.0 - log_probability[np.arange(len(labels)), labels].mean(dtype=np.float64)
    return float(loss), float((log_probability.argmax(1) == labels).mean())
