"""An unfinished run: a model store of the best epoch so far that also holds all it takes to go on to the bit."""

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DataError, UsageError
from ..spec import flag_of
from ..store import Reader, Writer
from .loop import Epoch
from .modelstore import check_weights

#: What the model's history keeps of an epoch. Not its seconds: the same command must give the same bytes.
SERIES = ("loss", "accuracy", "validation_loss", "validation_accuracy", "rate")

#: Most of a run's time that goes into keeping it.
SHARE = 0.1


class Pace:
    """Says when a run is to be kept again: after the first epoch, and then so that a tenth of the time goes into it."""

    def __init__(self) -> None:
        self._began, self._spent = time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return self._spent <= SHARE * (time.monotonic() - self._began)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Around the work of keeping it."""
        began = time.monotonic()
        yield
        self._spent += time.monotonic() - began


def check_same_run(src: Reader, run: Mapping[str, Any]) -> None:
    """Raises UsageError, naming the setting that differs, unless the checkpoint is of `run`.

    A run is {"settings": a mapping, "data": the digest of its input, "init": that of the weights it begins with,
    "teachers": those of its teachers, "key": that of its output, which is not looked at}.
    """
    found = src.documents.get("model", {}).get("run")
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise DataError(f"{src.name} is no checkpoint: --force starts over")
    then = found["settings"]
    for name, value in sorted(run["settings"].items(), key=lambda item: item[0] not in then):  # those of both first
        if then.get(name) != value:
            told, mend = _told_setting(name, value, then.get(name))
            raise UsageError(f"{src.name} is of a run {told}: {mend} to go on with it, or --force to start over")
    if found.get("data") != run["data"]:
        raise UsageError(f"{src.name} is of a run on other data: name that data to go on, or --force to start over")
    if found.get("init") != run.get("init"):
        init = run["settings"]["init"]
        raise UsageError(f"{src.name} is of a run that began when {init} held other weights: --force starts over")
    if found.get("teachers") != run.get("teachers"):
        raise UsageError(f"{src.name} is of a run that began when its teachers held other weights: --force starts over")


def _told_setting(name: str, value: Any, then: Any) -> tuple[str, str]:
    """What a run was like that had `then` for a setting, and what to type where that is a `value` now."""
    flag = flag_of(name)
    if then is None:
        return f"without {flag}", f"leave {flag} out"
    if then is False:
        return f"without {flag}", f"type --no-{flag.removeprefix('--')}"
    typed = flag if then is True else " ".join(f"{flag} {shlex.quote(one)}" for one in _texts(then))
    now = "" if isinstance(value, bool | None) else f", not {' '.join(_texts(value))}"
    return f"with {typed}{now}", f"type {typed}"


def _texts(value: Any) -> list[str]:
    """The values of a setting, which may be given more than once."""
    return list(map(str, value)) if isinstance(value, list) else [str(value)]


def series(history: list[Epoch]) -> dict[str, list[float]]:
    """The history by name, one value an epoch."""
    return {name: [getattr(epoch, name) for epoch in history] for name in SERIES}


def read_history(src: Reader) -> list[Epoch]:
    """The inverse of `series`, from a store."""
    found = src.arrays("history")
    if set(found) != set(SERIES):
        raise DataError(f"{src.name} is damaged: its history holds {', '.join(sorted(found))}")
    columns = [found[name].tolist() for name in SERIES]
    return [Epoch(number, *values) for number, values in enumerate(zip(*columns, strict=True), start=1)]


def write_state(
    dst: Writer, network: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None
) -> None:
    """The latest weights, as arrays `state/weights.NAME`, their average, as `state/average.NAME`, and the optimiser's
    memory, as `state/SLOT.NAME`.
    """
    for slot, module in (("weights", network), ("average", average)):
        for name, values in module.state_dict().items() if module is not None else ():
            dst.array(f"state/{slot}.{name}", values.cpu().numpy())
    for name, parameter in network.named_parameters():
        for slot, values in optimizer.state.get(parameter, {}).items():
            if isinstance(values, Tensor):
                dst.array(f"state/{slot}.{name}", values.cpu().numpy())


def read_state(
    src: Reader, network: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None
) -> None:
    """Brings all of them to the state that `write_state` wrote."""
    slots: dict[str, dict[str, np.ndarray]] = {}
    for key, values in src.arrays("state").items():
        slot, _, name = key.partition(".")
        slots.setdefault(slot, {})[name] = np.asarray(values)
    for slot, module in (("weights", network), ("average", average)):
        found = slots.pop(slot, {})
        if module is not None:
            check_weights(module.state_dict(), found, src.name)
            module.load_state_dict({name: torch.from_numpy(values) for name, values in found.items()})
    trained = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    memory = {
        index: {slot: _like(parameter, slot, found[name]) for slot, found in slots.items() if name in found}
        for index, (name, parameter) in enumerate(trained)
    }
    optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})


def _like(parameter: Tensor, slot: str, values: np.ndarray) -> Tensor:
    """A slot's values in the memory layout of their weights, which the fused optimisers go through side by side."""
    if slot == "step":  # one number, which optimisers keep as a float
        return torch.tensor(values.item())
    return torch.empty_like(parameter, requires_grad=False).copy_(torch.from_numpy(values))
