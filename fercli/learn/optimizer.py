"""Optimisers by name: torch's own, in their fused form, which updates all weights in one pass."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def make_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    lr: float,
    *,
    momentum: float,
    beta2: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """The optimiser `name`: sgd, nesterov, adam or adamw.

    `momentum` is that of sgd and nesterov and the first beta of adam and adamw, `beta2` their second.
    """
    if name in ("sgd", "nesterov"):
        nesterov = name == "nesterov"
        return torch.optim.SGD(
            parameters, lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return kind(parameters, lr, betas=(momentum, beta2), weight_decay=weight_decay, fused=True)


class Ascent:
    """Sharpness-aware minimisation (Foret et al. 2021): the gradient is taken where the loss near by is highest.

    radius: how far along the gradient that is, the norm over all weights (their rho).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], radius: float) -> None:
        self._parameters, self._radius = list(parameters), radius
        self._kept: list[Tensor] = []  # the weights as they were: a way back by subtraction would drift

    @torch.no_grad()
    def climb(self) -> None:
        """Moves the weights to there, by the gradients that they have."""
        gradients = [parameter.grad for parameter in self._parameters]
        length = torch.stack(torch._foreach_norm(gradients)).norm()
        self._kept = [parameter.clone() for parameter in self._parameters]
        torch._foreach_add_(self._parameters, torch._foreach_mul(gradients, self._radius / (length + 1e-12)))

    @torch.no_grad()
    def return_(self) -> None:
        """Moves the weights back."""
        torch._foreach_copy_(self._parameters, self._kept)
