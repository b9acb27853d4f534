"""Optimisers by name: torch's own, in their fused form, which updates all weights in one pass."""

from collections.abc import Iterable

import torch


def make_optimizer(
    name: str,
    parameters: Iterable[torch.nn.Parameter],
    lr: float,
    *,
    momentum: float,
    beta2: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """The optimiser "sgd", "adam" or "adamw".

    `momentum` is that of sgd and the first beta of adam and adamw, `beta2` their second.
    """
    if name == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return kind(parameters, lr, betas=(momentum, beta2), weight_decay=weight_decay, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Make `rate` the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
