"""A training run as one object: built from arrays, advanced epoch by epoch, saved as a model or as a checkpoint."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import models
from ..errors import UsageError
from ..store import Reader, Writer
from . import checkpoint, modelstore
from .batches import Batches
from .calibrate import fit_temperature
from .device import multiplies_int8
from .freeze import compute, convolutions, row_bytes, split_prefix
from .heads import parts, truth
from .infer import log_probabilities, loss_and_accuracy
from .inputs import Inputs
from .int8 import in_int8
from .loop import Epoch, best_epoch, train
from .modelstore import Card
from .normalise import Normalise
from .precise import estimate_norms, norms_of
from .step import Rule
from .stored import Stored

#: Memory for what frozen layers make of all rows. It is a constant, as the last bits of a result depend on its use.
FROZEN_BYTES = 2_000_000_000
#: Validation rows on which int8 is compared with float32: enough to see the losses apart, and some seconds of work.
TRIED = 2048


@dataclass
class Training:
    """The network and all that trains it. `history` holds the epochs done, `best` the weights of the best of them."""

    card: Card
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    network: nn.Module
    rule: Rule  # its network is this one, or what is left of it behind layers that are computed already
    batches: Batches
    validation: tuple[Inputs, np.ndarray]  # of M rows, labels (M,), -1 where only further heads are told
    trained_on: np.ndarray  # (N, 16) uint8
    select: str  # "accuracy", "loss" or "last"
    augment: Any = None  # the recipe behind batches.augment
    further: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.int64))  # (M, H), of the card's heads
    history: list[Epoch] = field(default_factory=list)
    settled: tuple[float, float] | None = None  # validation loss and accuracy after `settle_norms`
    best: Mapping[str, Tensor] = field(default_factory=dict)

    def epochs(
        self,
        last: int,
        rate: Callable[[int], float],
        graphs: bool,
        advance: Callable[[int], None],
        watch: Callable[[int, float], None] = lambda epoch, loss: None,
    ) -> Iterator[Epoch]:
        """Trains up to epoch `last`, keeping `history` and `best` before each epoch is yielded. See `loop.train`."""
        for epoch in train(
            self.rule,
            self.batches,
            self.validation,
            epochs=range(len(self.history) + 1, last + 1),
            rate=rate,
            graphs=graphs,
            advance=advance,
            watch=watch,
        ):
            self.history.append(epoch)
            if self.kept is epoch:
                answering = self.rule.average or self.network
                self.best = {name: values.detach().clone() for name, values in answering.state_dict().items()}
            yield epoch

    def compute_frozen(self) -> str:
        """Computes what the frozen layers make of each row once for all epochs, where that can be; a note tells.

        It cannot where images are changed anew in each epoch, where others than the layers behind look at them, or
        where the results take more than FROZEN_BYTES; and of layers in branches only if all of the branches are frozen.
        """
        rule, anew = self.rule, "the frozen layers are computed anew in every epoch, as "
        if self.batches.augment is not None or rule.mix is not None:
            return f"{anew}the images are {'augmented online' if rule.mix is None else 'mixed'}"
        if rule.teachers is not None or rule.average is not None:
            return f"{anew}{'teachers look at the images' if rule.average is None else 'an average is kept'}"
        parts = split_prefix(self.network, rule.frozen)
        if parts is None:
            return f"{anew}other branches of the first unit of {self.card.name} are trained"
        prefix, behind = parts
        shown, labels = self.validation
        rows = len(self.batches.labels), len(labels)
        size = rows[0] * row_bytes(prefix, rule.normalise, self.batches.inputs, rule.bfloat16)
        size += rows[1] * row_bytes(prefix, rule.normalise, shown, False)
        if size > FROZEN_BYTES:
            return f"{anew}their results would take {size / 1e9:.1f} GB, more than {FROZEN_BYTES / 1e9:g} GB"
        self.batches.hold(compute(prefix, rule.normalise, self.batches.inputs, rule.bfloat16))
        self.validation = compute(prefix, rule.normalise, shown, False), labels
        self.rule = replace(rule, network=behind, normalise=nn.Identity())
        once, frozen = convolutions(prefix), convolutions(nn.ModuleList(rule.frozen))
        if once == frozen:
            return f"the frozen layers are computed once: {size / 1e6:,.1f} MB"
        told = f"frozen convolutions computed once: {once} of {frozen}, {size / 1e6:,.1f} MB"
        return f"{told}; behind them {self.card.name} has branches"

    @property
    def kept(self) -> Epoch:
        """The best epoch so far."""
        return self.history[best_epoch(self.history, self.select)]

    @property
    def validated(self) -> tuple[float, float]:
        """Validation loss and accuracy of the model as it is kept."""
        return self.settled or (self.kept.validation_loss, self.kept.validation_accuracy)

    @property
    def metrics(self) -> dict[str, float]:
        """The figures that a model store keeps of the model as it is kept."""
        figures = {name: getattr(self.kept, name) for name in ("epoch", "loss", "accuracy")}
        figures |= dict(zip(("validation_loss", "validation_accuracy"), self.validated, strict=True))
        return figures | {
            "training_rows": len(self.batches.labels), "validation_rows": int((self.validation[1] >= 0).sum()),
        }  # fmt: skip

    def settle_norms(self) -> tuple[float, float] | None:
        """Estimates the batch normalisations of the best epoch anew, see `precise`; validation loss and accuracy then,
        None where none is trained.

        Training ends with it, as with `calibrate`, which comes after it.
        """
        if not norms_of(self.rule):
            return None
        self.network.load_state_dict(self.best)
        estimate_norms(self.rule, self.batches, len(self.history) + 1)
        self.best = {name: values.detach().clone() for name, values in self.network.state_dict().items()}
        self.settled = loss_and_accuracy(self._answers()[0], self.validation[1])
        return self.settled

    def calibrate(self) -> float:
        """Makes the probabilities of the best epoch come true on the validation rows; the temperature that does it.

        Training ends with it: the network has the weights of that epoch then.
        """
        known = self.validation[1] >= 0
        temperature = fit_temperature(self._answers()[0][known], self.validation[1][known])
        self.card = replace(self.card, temperature=temperature)
        return temperature

    def try_int8(self) -> str:
        """Compares answers of the best epoch in float32 and in int8, on up to TRIED validation rows, and keeps the log
        losses (nats) with the model; a note tells what came of it. Training ends with it, as with `calibrate`.
        """
        card, normalise = self.card, Normalise(self.card.mean, self.card.deviation)
        if not multiplies_int8():
            return "int8 is not tried: this CPU, or this torch, does not have it"
        if card.heads or self.rule.network is not self.network:
            return f"int8 is not tried with {'further heads' if card.heads else 'layers that are computed once'}"
        network = models.build(card.name, len(self.classes), len(self.channels), card.size, **card.arguments).eval()
        network.load_state_dict(self.best)
        try:
            networks = {"float32": network, "int8": in_int8(network, normalise, card.name)}
        except UsageError:
            return f"int8 is not tried: {card.name} has no form in it"
        inputs, labels = self.validation
        some = np.arange(0, len(labels), -(-len(labels) // TRIED))
        rows = [column.read(some) if isinstance(column, Stored) else column[some] for column in inputs]
        losses = {}
        for name, one in networks.items():
            answers = log_probabilities(one, normalise, rows, temperature=card.temperature)
            losses[name] = loss_and_accuracy(answers, labels[some])[0]
        self.card = replace(card, losses=losses)
        told = f"log loss in validation {losses['float32']:.4f}, answering in int8 {losses['int8']:.4f}"
        serves = "serves, on CPUs with AVX2 and no AMX" if self.card.int8_serves else "does not serve"
        return f"{told}: int8 {serves}"

    def further_accuracies(self) -> list[tuple[str, float | None, int]]:
        """Of each further head its name, the accuracy of the best epoch in validation and the rows that this is over.

        The accuracy is None where there are none. Training ends with it, as with `calibrate`.
        """
        told = []
        for head, answers, codes in zip(self.card.heads, self._answers()[1:], self.further.T, strict=True):
            known = codes >= 0
            hits = answers[known].argmax(1) == codes[known]
            told.append((head.name, float(hits.mean()) if known.any() else None, int(known.sum())))
        return told

    def _answers(self) -> list[np.ndarray]:
        """Log-probabilities (M, K) of the validation rows by the best epoch, head by head."""
        self.network.load_state_dict(self.best)
        rule = self.rule
        return parts(
            log_probabilities(rule.network, rule.normalise, self.validation[0], widths=rule.widths), rule.widths
        )

    def save(self, dst: Writer, run: Mapping[str, Any] | None = None, half: bool = False) -> None:
        """Writes the model of the best epoch, in `half` precision or not; with `run` (see `checkpoint.check_same_run`)
        all that going on takes.
        """
        modelstore.save(
            dst,
            replace(self.card, metrics=self.metrics),
            self.classes,
            self.channels,
            self.best,
            checkpoint.series(self.history),
            self.trained_on,
            self.augment,
            run,
            half,
        )
        if run is not None:
            checkpoint.write_state(dst, self.network, self.rule.optimizer, self.rule.average)

    def resume(self, src: Reader) -> None:
        """Goes back to where the checkpoint `src` was written."""
        self.history = checkpoint.read_history(src)
        checkpoint.read_state(src, self.network, self.rule.optimizer, self.rule.average)
        best = {name: np.asarray(values) for name, values in src.arrays("weights").items()}
        modelstore.check_weights(self.network.state_dict(), best, src.name)
        self.best = {name: torch.from_numpy(values) for name, values in best.items()}


def class_weights(labels: np.ndarray, classes: int) -> Tensor:
    """(K,) float32: N / (classes shown x rows of the class), whose mean over the rows is 1; 0 for a class not shown.

    Labels of -1 do not count.
    """
    labels = labels[labels >= 0]
    counts = np.bincount(labels, minlength=classes)
    shown = counts > 0
    weights = np.zeros(classes, np.float32)
    weights[shown] = len(labels) / (shown.sum() * counts[shown])
    return torch.from_numpy(weights)


def missing_classes(labels: Tensor, classes: Sequence[str]) -> list[str]:
    """Names of the classes that no row shows, from labels as `Batches` has them."""
    shown = set(truth(labels).tolist())
    return [name for code, name in enumerate(classes) if code not in shown]
