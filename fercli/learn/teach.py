"""Distillation: a network learns what others answer, beside the labels (Hinton et al. 2015)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .inputs import answer
from .modelstore import Model
from .shared import share_of_mean


@dataclass(frozen=True)
class Teachers:
    """Trained models, of whose softened probabilities the mean is learnt. They see the pictures as the pupil does.

    `temperature` softens both sides; that by which a model's own probabilities were made to come true plays no part.
    """

    models: Sequence[Model]
    weight: float  # of the teachers' answer, 0 to 1; the labels have the rest
    temperature: float

    def blend(self, loss: Tensor, logits: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
        """The loss with the teachers' part, T^2 times the cross-entropy of answers softened by T. logits: (B, K).

        Of what the pupil reads the teachers see the images alone.
        """
        with torch.no_grad():
            soft = [
                (answer(model.network, model.normalise, inputs[:1]).float() / self.temperature).softmax(1)
                for model in self.models
            ]
        taught = functional.cross_entropy(logits.float() / self.temperature, torch.stack(soft).mean(0))
        taught = share_of_mean(taught, len(logits))
        return (1 - self.weight) * loss + self.weight * self.temperature**2 * taught
