"""Requests to end that come from outside: an interrupt, and the signals that are answered as one."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

#: Sent by Ctrl-C; by kill, timeout and schedulers; by a terminal that closes.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds within which a signal is the one before once more: timeout sends two.
_AGAIN = 1.0
#: Seconds that `held` holds a signal at most: whoever reads a pipe may never go on.
_PATIENCE = 5.0


class Ended(KeyboardInterrupt):
    """The signal `number` came: whatever tidies up at an interrupt does so."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _Pace:
    """Tells a signal from the one before that was sent once more."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Takes the next signal for a new one."""
        self._last = -_AGAIN

    def is_new(self) -> bool:
        """Whether the signal that comes now is none that was answered just before."""
        now = time.monotonic()
        new = now - self._last >= _AGAIN
        if new:
            self._last = now
        return new


#: That of the process, as signals are.
_pace = _Pace()


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """Raises `Ended` at signals that would else end the process with its temporary files in place, and at one of two
    interrupts that come together. Those that are ignored, as under nohup, still are.
    """
    _pace.forget()

    def end(number: int, _: object) -> None:
        if _pace.is_new():  # else it would disturb the tidying up
            raise Ended(number)

    usual = (signal.SIG_DFL, signal.default_int_handler)
    old = {number: signal.signal(number, end) for number in ENDING if signal.getsignal(number) in usual}
    try:
        yield
    finally:
        for number, handler in old.items():
            if signal.getsignal(number) is end:
                signal.signal(number, handler)


@contextlib.contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Takes an interrupt, or SIGTERM as of timeout, for the end of work that has no other: yields what tells whether
    one came. A second one that comes before that was told, or that is new, is answered as ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # Python interrupts its main thread alone
        return
    came = told = False

    def note(number: int, _: object) -> None:
        nonlocal came
        new = _pace.is_new()
        if came and (new or (number == signal.SIGINT and not told)):
            signal.signal(number, old[number])
            raise Ended(number)
        came = True

    def tell() -> bool:
        nonlocal told
        told = came
        return came

    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    old = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            signal.signal(number, note)
        yield tell
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def unanswered() -> Iterator[None]:
    """Lets those signals end the process as they come: for a wait inside a library, which Python's handlers wait for,
    where nothing is to be tidied up yet.
    """
    numbers = [number for number in ENDING if signal.getsignal(number) not in (None, signal.SIG_IGN)]
    old = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Answers a signal that comes inside at the end, or after some seconds. While HDF5 calls Python, h5py could drop
    the exception, and a write with it; in the middle of a write to a pipe it would leave half a line.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python interrupts its main thread alone
        return
    numbers = [number for number in ENDING if signal.getsignal(number) not in (None, signal.SIG_IGN)]
    came: list[int] = []

    def hold(number: int, _: object) -> None:
        if not came:
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
        came.append(number)

    def give_up(*_: object) -> None:
        raise KeyboardInterrupt

    old = {number: signal.getsignal(number) for number in (*numbers, signal.SIGALRM)}
    try:
        signal.signal(signal.SIGALRM, give_up)
        for number in numbers:
            signal.signal(number, hold)
        yield
    finally:
        try:
            for number in numbers:
                signal.signal(number, old[number])
        finally:  # though one that comes now is answered at once
            if came:
                signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old[signal.SIGALRM])
        for number in came:  # the first raises, whatever else was raised inside
            signal.raise_signal(number)
