"""The training loop. The caller reads one result an epoch, and decides what to keep and when to stop."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DataError
from . import ranks
from .batches import Batches
from .heads import parts
from .infer import log_probabilities, loss_and_accuracy
from .inputs import Inputs
from .shared import answered
from .step import Epochs, Rule

#: Steps between looks at the losses. Each look waits for the GPU, so it is no more often than a person could notice.
CHECK_STEPS = 100


class Diverged(DataError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Epoch:
    """What an epoch gave. Loss and accuracy are means over its steps, with dropout, as the weights were at each.

    The accuracy of mixed pictures is that of the answer for the first of the two.
    """

    epoch: int  # from 1
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    rate: float  # learning rate of the last step
    seconds: float = 0.0  # of training, without validation; 0 where it was restored from a checkpoint


def train(
    rule: Rule,
    batches: Batches,
    validation: tuple[Inputs, np.ndarray],
    *,
    epochs: Sequence[int],
    rate: Callable[[int], float],
    graphs: bool = False,
    advance: Callable[[int], None] = lambda rows: None,
    watch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Iterator[Epoch]:
    """Trains the network of `rule` in place, yielding after each of `epochs` (numbers from 1; those before are done).

    `validation` is inputs of M rows and labels (M,), -1 where there is none, answered by the average of the weights
    where `rule` keeps one; `rate` gives the learning rate of a step counted over all epochs from 0; `graphs`: see
    `Epochs`; `advance` hears of each batch's rows, `watch` from time to time of the epoch under way and its latest
    losses' mean. What is random in an epoch depends on the seed of `batches` and the epoch's number alone. Raises
    Diverged.
    """
    runner, steps = Epochs(rule, batches, graphs), len(batches)
    for epoch in epochs:
        torch.manual_seed(epoch_seed(batches.seed, epoch, ranks.rank()))
        began = time.perf_counter()
        for module in filter(None, (rule.network, rule.average)):
            ranks.align(module)
        rule.network.train()
        for layer in rule.frozen:
            layer.eval()
        rates = [rate((epoch - 1) * steps + step) for step in range(steps)]
        for step, rows in enumerate(runner.run(epoch, rates), start=1):
            if step % CHECK_STEPS == 0:
                losses = _known(ranks.total(runner.losses[:step]))
                _check(losses, epoch)
                watch(epoch, losses[-CHECK_STEPS:].double().mean().item())
            advance(rows)
        losses, hits = _known(ranks.total(runner.losses)), _known(ranks.total(runner.hits))
        _check(losses, epoch)
        seconds = time.perf_counter() - began
        network = rule.network if rule.average is None else rule.average
        answers = _answers(network, rule, validation[0])
        validation_loss, validation_accuracy = loss_and_accuracy(parts(answers, rule.widths)[0], validation[1])
        if not math.isfinite(validation_loss):  # the last step spoiled the weights
            raise Diverged(f"the validation loss is {validation_loss} after epoch {epoch}: lower --lr")
        yield Epoch(
            epoch,
            losses.double().mean().item(),
            hits.item() / batches.labelled,
            validation_loss,
            validation_accuracy,
            rates[-1],
            seconds,
        )


def _known(values: Tensor) -> Tensor:
    """Numbers of the device, for which this waits, in the CPU's memory."""
    with ranks.waiting():
        return values.cpu()


def _answers(network: nn.Module, rule: Rule, inputs: Inputs) -> np.ndarray:
    """Log-probabilities of the rows of `inputs`, of which each process answers its part."""
    return answered(
        lambda part: log_probabilities(network, rule.normalise, inputs, widths=rule.widths, part=part),
        len(inputs[0]),
    )


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """The seed of all that torch draws in an epoch, in a process of the run; epoch 0 is that of the first weights."""
    entropy = [seed, epoch, rank] if rank else [seed, epoch]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def best_epoch(history: Sequence[Epoch], select: str) -> int:
    """Index into `history` of the best validation "accuracy" or "loss", or of the "last" epoch.

    Of equal accuracies the one with the lower loss is better, then the earlier one.
    """
    if select == "last":
        return len(history) - 1
    if select == "loss":
        return min(range(len(history)), key=lambda i: history[i].validation_loss)
    return max(range(len(history)), key=lambda i: (history[i].validation_accuracy, -history[i].validation_loss))


def _check(losses: Tensor, epoch: int) -> None:
    for step, loss in enumerate(losses.tolist(), start=1):
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss} in step {step} of epoch {epoch}: lower --lr")
