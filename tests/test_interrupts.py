"""Signals that ask the program to end: when they are answered, and that none is lost."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from fercli import interrupts
from fercli.interrupts import Ended, answered, held, noted

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Every handler is in its place again."""
    before = [signal.getsignal(number) for number in HANDLED]
    yield
    assert [signal.getsignal(number) for number in HANDLED] == before


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as the handlers read it."""
    now = [100.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_is_sent_twice_is_one(number: int, clock: list[float]) -> None:
    with answered():
        with pytest.raises(Ended) as ended:
            signal.raise_signal(number)
        assert ended.value.number == number
        clock[0] += 0.6
        signal.raise_signal(number)
        clock[0] += 0.6
        with pytest.raises(Ended):  # the first may have been lost where Python drops exceptions
            signal.raise_signal(number)


def test_what_is_ignored_or_handled_stays_so() -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with answered(), held():
        signal.raise_signal(signal.SIGHUP)
    assert signal.signal(signal.SIGHUP, old) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Ended), (signal.SIGHUP, Ended)]
)
def test_a_signal_is_answered_at_the_end(number: int, error: type[BaseException]) -> None:
    done = []

    @held()
    def work() -> None:
        signal.raise_signal(number)
        done.append("the rest")

    with answered(), pytest.raises(error):
        work()
    assert done == ["the rest"]


def test_a_signal_is_answered_though_another_error_ends_the_block() -> None:
    @held()
    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        raise BrokenPipeError

    with answered(), pytest.raises(Ended):
        work()


def test_a_write_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_PATIENCE", 0.05)
    reading, writing = os.pipe()

    @held()
    def fill() -> None:
        os.write(writing, b"\0")
        signal.raise_signal(signal.SIGTERM)
        while True:
            os.write(writing, bytes(65536))

    with answered(), pytest.raises(Ended) as ended:
        fill()
    assert ended.value.number == signal.SIGTERM
    assert os.read(reading, 1) == b"\0"
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_noted_where_work_has_no_other_end(number: int, clock: list[float]) -> None:
    with answered():
        with noted() as ended:
            assert not ended()
            signal.raise_signal(number)
            assert ended()
            clock[0] += 0.2
            signal.raise_signal(number)  # a key that was hit twice
        signal.raise_signal(number)  # three times, while what was made is closed
        clock[0] += 2
        with pytest.raises(Ended):
            signal.raise_signal(number)


def test_a_second_interrupt_is_answered_before_the_first_was_told(clock: list[float]) -> None:
    """As that of one who sees that no frame comes."""
    with answered(), noted():
        signal.raise_signal(signal.SIGINT)
        clock[0] += 0.5
        with pytest.raises(Ended):
            signal.raise_signal(signal.SIGINT)


def test_nothing_is_noted_beside_the_main_thread() -> None:
    told = []

    def work() -> None:
        with noted() as ended:
            told.append(ended())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [False]


def test_no_alarm_is_left_behind_a_signal_that_was_held() -> None:
    with answered(), pytest.raises(Ended), held():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
