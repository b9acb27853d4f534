"""The processes of one run, as torchrun starts them: which of them this is, and what they tell each other.

A process that was started alone is all of its run: then nothing here imports torch or waits for anyone. Process 0
writes and speaks; the others help it. They stand at the same place of the same command whenever they tell each other
something, so whoever changes what is done on the way there has to do so for all of them.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .. import interrupts
from ..errors import DataError, UsageError
from ..ops.parallel import cores

if TYPE_CHECKING:
    from torch import Tensor, nn

#: How long one waits for another that lives but does not answer. That one has ended is seen at once.
PATIENCE = timedelta(minutes=30)
#: Seconds after which one that waits for another and was told to end does not wait any longer. What it has is kept if
#: the other answers before; torchrun kills both after 30.
_GRACE = 10.0

LOST = "another process of this run was lost, or the run was terminated: type the same command again"


class Lost(DataError):
    """Another process of the run is no longer there."""


@dataclass
class _Run:
    rank: int = 0
    size: int = 1
    place: int = 0  # number among the processes of this machine
    neighbours: int = 1  # processes of this machine
    board: Any = None  # where all processes read and write short notes
    wait: object = None  # what the main thread waits for another with, inside of torch
    terminated: bool = False  # torchrun has told this process to end


_run = _Run()


def rank() -> int:
    """The number of this process, from 0."""
    return _run.rank


def size() -> int:
    """How many processes the run has."""
    return _run.size


def place() -> int:
    """The number of this process among those of its machine, from 0."""
    return _run.place


def neighbours() -> int:
    """How many processes of the run are on this machine."""
    return _run.neighbours


def writes() -> bool:
    """Whether this process is the one that writes and speaks."""
    return _run.rank == 0


def join(give_up: Callable[[], None]) -> None:
    """Meets the other processes, if torchrun has started any. Raises DataError where they cannot be met.

    `give_up` is called in a thread where this process was told to end and waits for one that does not answer: Python
    hears of signals when torch has returned to it.
    """
    if "RANK" not in os.environ or "MASTER_ADDR" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    try:
        with interrupts.unanswered():  # one that waits for another that has ended already hears nothing of Python's
            board, number, count = next(rendezvous("env://", timeout=PATIENCE))
            distributed.init_process_group(backend, store=board, rank=number, world_size=count, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"the processes of this run could not meet: {error}") from error
    _run.rank, _run.size, _run.board = number, count, distributed.PrefixStore("fercli", board)
    _run.place = int(os.environ.get("LOCAL_RANK", number))
    _run.neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    _share_cores()
    signal.signal(signal.SIGTERM, _terminated)  # torchrun sends it to all when one has failed
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_end_waiting, args=(heard, give_up), daemon=True).start()


def _end_waiting(signals: int, give_up: Callable[[], None]) -> None:
    """Gives up where a wait that a signal finds has not ended after a while; `signals` is a pipe of their numbers."""
    while os.read(signals, 1)[0] not in interrupts.ENDING:
        pass
    while True:
        wait = _run.wait
        time.sleep(_GRACE)
        if wait is not None and wait is _run.wait:
            give_up()


def _share_cores() -> None:
    """Gives each process of this machine its part of the cores, where torchrun has left it one thread."""
    import torch

    if os.environ.get("OMP_NUM_THREADS") == "1":  # torchrun's, unless the person says otherwise; --threads goes before
        del os.environ["OMP_NUM_THREADS"]
        share = max(1, cores() // _run.neighbours)
        os.environ["OMP_NUM_THREADS"] = str(share)  # which `cores` heeds from here on
        torch.set_num_threads(share)


def leave() -> None:
    """Ends what `join` began, at the end of a run that went well."""
    if _run.size > 1:
        from torch import distributed

        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what another still meets no longer concerns this one
        distributed.destroy_process_group()


def terminated() -> bool:
    """Whether this process was told to end. That raised `Lost`, wherever it was; it may have become another error."""
    return _run.terminated


def _terminated(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not disturb the tidying up
    _run.terminated = True
    raise Lost(LOST)


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Around what waits inside of torch for other processes, or for a GPU that does. See `join`."""
    _run.wait = object()
    try:
        yield
    finally:
        _run.wait = None


@contextlib.contextmanager
def _talk() -> Iterator[Any]:
    """torch.distributed, whose errors become `Lost`."""
    import torch
    from torch import distributed

    if _run.terminated:  # though somebody took what that raised for another error
        raise Lost(LOST)
    try:
        with waiting():
            yield distributed
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if threading.current_thread() is threading.main_thread():  # a GPU's gradients have one of their own
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Lost(LOST) from error


def first_to_tell(text: str) -> bool:
    """Whether no process has told the person this error yet; that another was lost is told where that one said nothing.

    The others are taken to hear of it: all processes meet the same errors in what they share.
    """
    if _run.size == 1:
        return True
    try:
        if text == LOST and _run.board.add("told", 0):
            return False
        _run.board.add("told", 1)
        return _run.board.add(f"told {text.partition(';')[0]}", 1) == 1  # what to do behind it may differ
    except RuntimeError:  # the board went with the process that kept it
        return True


def check_alone(what: str, instead: str) -> None:
    """Raises UsageError where several processes were started for `what` one does; `instead` says what to type."""
    if _run.size > 1:
        raise UsageError(f"{what} is the work of one process, and this run has {_run.size}: {instead}")


def check_share(rows: int) -> None:
    """Raises UsageError unless all processes get some of a step's rows; see `share_step`."""
    most = (rows + 1) // 2
    if most < _run.size:
        raise UsageError(
            f"{_run.size} processes cannot share a step of {rows} rows: "
            f"type --nproc-per-node {most}, or a larger --batch where there are more rows"
        )


def part(count: int) -> range:
    """This process's part of `count` things, which follow each other; the parts differ by one thing at most."""
    return range(count * _run.rank // _run.size, count * (_run.rank + 1) // _run.size)


def total(values: "Tensor") -> "Tensor":
    """The sum over the processes of tensors of one shape, without gradients."""
    if _run.size == 1:
        return values
    whole = values.detach().clone()
    with _talk() as distributed:
        distributed.all_reduce(whole)
    return whole


def everyones(number: int) -> list[int]:
    """The numbers that the processes give."""
    if _run.size == 1:
        return [number]
    import torch

    given = torch.zeros(_run.size, dtype=torch.int64)
    given[_run.rank] = number
    return total(given).tolist()


def agreed(verdict: bool) -> bool:
    """What process 0 finds, whatever the others do: they may see other files, or see them later."""
    return bool(everyones(verdict)[0])


def sum_gradients(parameters: Iterable["nn.Parameter"]) -> None:
    """Replaces the gradients of the parameters, those that have one, by their sums over the processes."""
    if _run.size == 1:
        return
    import torch

    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    whole = total(torch.cat([values.reshape(-1) for values in gradients]))  # one message
    sums = whole.split([values.numel() for values in gradients])
    torch._foreach_copy_(gradients, [one.view(values.shape) for one, values in zip(sums, gradients, strict=True)])


def align(module: "nn.Module") -> None:
    """Gives all processes the weights and counters of process 0: what differs in a last bit must not grow."""
    if _run.size == 1:
        return
    with _talk() as distributed:
        for values in module.state_dict().values():
            whole = values.contiguous()
            distributed.broadcast(whole, 0)
            values.copy_(whole)


def send(data: bytes) -> None:
    """Gives process 0 a message; waits until it takes it."""
    import torch

    with _talk() as distributed:
        distributed.send(torch.tensor([len(data)]), 0)
        if data:
            distributed.send(torch.frombuffer(bytearray(data), dtype=torch.uint8), 0)


def receive(sender: int) -> bytes:
    """The next message of a process."""
    import torch

    with _talk() as distributed:
        length = torch.zeros(1, dtype=torch.int64)
        distributed.recv(length, sender)
        data = torch.empty(int(length), dtype=torch.uint8)
        if len(data):
            distributed.recv(data, sender)
    return data.numpy().tobytes()
