"""Requests to end that come from outside: an interrupt, and the signals that are answered as one."""

import contextlib
import signal
import threading
from collections.abc import Iterator

#: Sent by kill, timeout and schedulers; sent by a terminal that closes.
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Ended(KeyboardInterrupt):
    """The signal `number` came: whatever tidies up at an interrupt does so."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """Raises `Ended` at signals that would else end the process with its temporary files in place. Those that are
    ignored, as under nohup, still are.
    """
    numbers = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in numbers:
            if signal.getsignal(number) is _raise:
                signal.signal(number, signal.SIG_DFL)


def _raise(number: int, _: object) -> None:
    for ending in _ENDING:  # timeout sends its signal twice, and the second must not disturb the tidying up
        signal.signal(ending, signal.SIG_IGN)
    raise Ended(number)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Answers a signal that comes inside at the end. While HDF5 calls Python, h5py could drop the exception, and a
    write with it; in the middle of a write to a pipe it would leave half a line.
    """
    numbers = [number for number in (signal.SIGINT, *_ENDING) if signal.getsignal(number) is not None]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python interrupts its main thread alone
    came: list[int] = []
    old = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
