"""Probabilities that come true: one temperature for all logits (Guo et al. 2017, section 4.2)."""

import math

import numpy as np

#: The temperatures looked at.
LOWEST, HIGHEST = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 60  # of a search that keeps 0.62 of its range each time


def fit_temperature(log_probability: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which the labels (N,) are the least surprising, given (N, K) log-probabilities under 1.

    These may be logits as well. The loss has one minimum in the inverse of the temperature, so a golden section finds
    it; the right class first in every row has none but the lowest temperature.
    """
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _loss(log_probability, labels, left) <= _loss(log_probability, labels, right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def _loss(logits: np.ndarray, labels: np.ndarray, logarithm: float) -> float:
    """Mean cross-entropy (nats) under the temperature of which `logarithm` is the natural one."""
    scaled = logits.astype(np.float64) / math.exp(logarithm)
    scaled -= scaled.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]).mean())
