"""One step of training, and how a GPU repeats it: captured once as a CUDA graph, then launched as a whole."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from . import ranks
from .augment import DRAWN
from .batches import Batches
from .heads import truth
from .inputs import answer
from .mix import Mix
from .optimizer import Ascent
from .shared import places
from .teach import Teachers

#: Steps that run as they are before one of their size is captured: libraries choose their kernels in these.
WARM = 3


@dataclass
class Rule:
    """What a step does with its rows; of several processes, each with its own: then losses and hits are its parts.

    `criterion` takes logits (B, K) and labels (B,) or shares of classes (B, K); or, where the network has heads
    of `widths` classes, their logits side by side and labels (B, heads).
    """

    network: nn.Module
    normalise: nn.Module
    optimizer: torch.optim.Optimizer
    criterion: nn.Module
    bfloat16: bool = False
    frozen: Sequence[nn.Module] = ()  # layers that stay in evaluation mode
    mix: Mix | None = None
    teachers: Teachers | None = None
    clip: float | None = None  # longest gradient, the norm over all weights
    ascent: Ascent | None = None
    average: nn.Module | None = None  # a copy of the network that follows its weights
    decay: float = 0.0  # of that average, a step
    widths: Sequence[int] = ()  # of several heads

    def loss(self, inputs: tuple[Tensor, ...], labels: Tensor, mixed: Tensor | None) -> tuple[Tensor, Tensor]:
        """The loss, and how many rows (int64) the network answers right; `mixed` (5,) is what `Mix.draw` drew."""
        images, *others = inputs
        targets = labels
        if self.mix is not None:
            images, targets = self.mix.blend(images, labels, mixed)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
            logits = answer(self.network, self.normalise, (images, *others))
            loss = self.criterion(logits, targets)
            if self.teachers is not None:
                loss = self.teachers.blend(loss, logits, (images, *others))
        answers = logits.detach()[:, : self.widths[0]] if self.widths else logits.detach()
        return loss, (answers.argmax(1) == truth(labels)).sum()

    def apply(self, inputs: tuple[Tensor, ...], labels: Tensor, mixed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Moves the weights once; the loss, detached, and the right answers before."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, hits = self.loss(inputs, labels, mixed)
        self._differentiate(loss)
        if self.ascent is not None:
            self.ascent.climb()
            self.optimizer.zero_grad(set_to_none=True)
            with _statistics_held(self.network):
                self._differentiate(self.loss(inputs, labels, mixed)[0])
            self.ascent.return_()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip, foreach=True)
        self.optimizer.step()
        if self.average is not None:
            follow(self.average, self.network, 1 - self.decay)
        return loss.detach(), hits

    def _differentiate(self, loss: Tensor) -> None:
        """Leaves the gradients of the whole batch in the weights."""
        loss.backward()
        ranks.sum_gradients(weight for group in self.optimizer.param_groups for weight in group["params"])


@contextmanager
def _statistics_held(network: nn.Module) -> Iterator[None]:
    """Leaves the means and deviations that normalisations keep: they are to be those of the weights that are kept."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, share: float) -> None:
    """Moves every number of `average` by a share of the way to `network`; counters are taken over."""
    theirs, ours = list(average.state_dict().values()), list(network.state_dict().values())
    floats = [place for place, values in enumerate(ours) if values.is_floating_point()]
    torch._foreach_lerp_([theirs[place] for place in floats], [ours[place] for place in floats], share)
    for place in set(range(len(ours))) - set(floats):
        theirs[place].copy_(ours[place])


@dataclass
class Epochs:
    """Runs the steps of epochs. What an epoch draws lies on the device, where a step finds its part by counters.

    With `graphs`, on a GPU, all steps of one size are one captured graph after the first few.
    """

    rule: Rule
    batches: Batches
    graphs: bool = False
    _static: dict[str, Tensor] = field(default_factory=dict)
    _captured: dict[int, torch.cuda.CUDAGraph] = field(default_factory=dict)
    _eager: dict[int, int] = field(default_factory=dict)  # steps of a size done without a graph

    def __post_init__(self) -> None:
        device, steps = self.batches.device, len(self.batches)
        self.losses = torch.zeros(steps, device=device)
        self.hits = torch.zeros((), dtype=torch.int64, device=device)
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._first = torch.zeros((), dtype=torch.int64, device=device)  # place in the order of the step's first row
        self._rate = torch.zeros((), device=device)
        if device.type == "cuda":  # the rate is read there, without waiting
            for group in self.rule.optimizer.param_groups:
                group["lr"] = self._rate
                if "capturable" in group:
                    group["capturable"] = True

    def run(self, epoch: int, rates: Sequence[float]) -> Iterator[int]:
        """The steps of an epoch, yielding the rows of each when it is launched. `rates`: one learning rate a step."""
        self._begin(epoch, rates)
        try:
            for step, size in enumerate(self.batches.sizes):
                if self.batches.device.type == "cpu":
                    for group in self.rule.optimizer.param_groups:
                        group["lr"] = rates[step]
                self._launch(size)
                yield size
        finally:
            self.batches.close()

    def _begin(self, epoch: int, rates: Sequence[float]) -> None:
        drawn = {"order": self.batches.order(epoch), "rate": torch.tensor(rates, dtype=torch.float32)}
        drawn |= self.batches.draw(epoch)
        if self.rule.mix is not None:
            drawn["mix"] = self.rule.mix.draw(len(self.batches), epoch)
        for name, values in drawn.items():
            if name in self._static:
                self._static[name].copy_(values)  # where the graphs look for it
            else:
                self._static[name] = values.to(self.batches.device)
        for counter in (self.losses, self.hits, self._step, self._first):
            counter.zero_()

    def _launch(self, size: int) -> None:
        if size in self._captured:
            self._captured[size].replay()
        elif not self.graphs or self._eager.setdefault(size, 0) < WARM:
            with _aside(self.graphs):
                self._one(size)
            self._eager[size] = self._eager.get(size, 0) + 1
        else:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._one(size)
            self._captured[size] = graph
            graph.replay()  # capturing does not run it

    def _one(self, size: int) -> None:
        static = self._static
        where = static["order"][self._first + places(size, self._first.device)]
        at = self._step.view(1)  # as a tensor of one: an index of none would be read on the host, and so waited for
        self._rate.copy_(static["rate"][at][0])
        drawn = {name: values for name, values in static.items() if name in DRAWN}
        inputs, labels = self.batches.gather(where, drawn)
        mixed = static["mix"][at][0] if "mix" in static else None
        loss, hits = self.rule.apply(inputs, labels, mixed)
        self.losses.index_copy_(0, at, loss.float().view(1))
        self.hits += hits
        self._step += 1
        self._first += size


@contextmanager
def _aside(wanted: bool) -> Iterator[None]:
    """On a stream of its own, as capture wants the steps before it to be."""
    if not wanted:
        yield
        return
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)


def capturable(batches: Batches, advice: str) -> bool:
    """Whether steps are captured under `--compile auto` or `none`: on a GPU whose memory holds the rows, alone."""
    return advice == "auto" and batches.device.type == "cuda" and not uncapturable(batches)


def uncapturable(batches: Batches) -> str:
    """Why no GPU could repeat steps as a graph; empty where one could."""
    if ranks.size() > 1:
        return "several processes share them"
    return "" if batches.resident else "the rows do not lie in its memory"
