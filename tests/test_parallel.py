"""Items made ahead of time: in order, few at a time, and no thread is left behind; and how many threads there are."""

import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from fercli.ops import parallel
from fercli.ops.parallel import buffered, ordered_map

#: Interrupts its own main thread, again and again, while that takes items which other threads make.
INTERRUPTED = """
import os, random, signal, sys, threading, time
from contextlib import closing
from itertools import count
from queue import SimpleQueue
from fercli.ops.parallel import buffered, ordered_map

made = {
    "buffered": lambda: buffered(count(), 8),
    "nested": lambda: buffered(buffered(count(), 2), 8),
    "latest": lambda: buffered(map(time.sleep, iter(lambda: 1e-5, 0)), 2, latest=True),
    "ordered_map": lambda: ordered_map(abs, count()),
}[sys.argv[1]]
began, armed = SimpleQueue(), False

def interrupt():
    while True:
        began.get()
        time.sleep(random.uniform(0, 0.003))
        os.kill(os.getpid(), signal.SIGINT)

def answer(*_):
    global armed
    armed = False
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, answer)
sys.setswitchinterval(1e-5)  # threads change places often
threading.Thread(target=interrupt, daemon=True).start()
for _ in range(1000):
    try:
        armed = True
        began.put(None)
        with closing(made()) as items:
            for _ in items:
                pass
    except KeyboardInterrupt:
        assert not armed
print(threading.active_count())
"""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


def test_items_come_in_order():
    assert list(buffered(range(1000), 3)) == list(range(1000))
    assert list(buffered((), 1)) == []


def test_they_are_made_while_the_caller_is_busy_but_few_wait():
    made = []
    items = buffered((made.append(number) or number for number in range(20)), 4)
    assert next(items) == 0
    deadline = time.monotonic() + 10
    while len(made) < 6 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert made == [0, 1, 2, 3, 4, 5]  # the first was taken, four wait, and one has no room yet
    assert list(items) == list(range(1, 20))


def test_an_error_comes_after_the_items_before_it():
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    got = []
    with pytest.raises(ValueError, match=r"^broken$"):
        got.extend(buffered(broken(), 5))
    items = buffered(broken(), 5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match=r"^broken$"):
        next(items)


@pytest.mark.parametrize("make", [ordered_map, lambda function, items: buffered(map(function, items), 1)])
def test_an_error_that_was_told_holds_nothing_any_more(make):
    """Not what the callers had under way either, whose threads would stay."""

    def work() -> None:
        other = buffered(count(), 2)
        next(other)
        list(make(lambda _: 1 / 0, [1]))

    before = set(threading.enumerate())
    gc.disable()  # which would free it some time later
    try:
        with contextlib.suppress(ZeroDivisionError):
            work()
        assert not set(threading.enumerate()) - before
    finally:
        gc.enable()


def test_an_error_of_what_closes_the_items_comes_too():
    class Broken:
        def __iter__(self) -> Iterator[int]:
            return iter([1, 2])

        def close(self) -> None:
            raise OSError("cannot be closed")

    got = []
    with pytest.raises(OSError, match=r"^cannot be closed$"):
        got.extend(buffered(Broken(), 5))


def test_who_stops_early_closes_what_makes_the_items():
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            yield from count()
        finally:
            closed.set()

    items = buffered(buffered(endless(), 2), 2)
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    items.close()
    assert closed.is_set()


def test_the_latest_items_take_the_place_of_those_that_wait():
    all_made = threading.Event()

    def live() -> Iterator[int]:
        yield from range(100)
        all_made.set()

    items = buffered(live(), 3, latest=True)
    first = next(items)
    assert all_made.wait(10)  # though nobody takes them
    assert [first, *items] in ([97, 98, 99], [first, 97, 98, 99], [first, 98, 99])


@pytest.mark.parametrize("name", ["buffered", "nested", "latest", "ordered_map"])
def test_an_interrupt_at_any_moment_ends_it(name):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, name], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("2\n", "")


@pytest.mark.parametrize(
    ("asked", "quota", "used"),
    [("", "max 100000", 8), ("3", "max 100000", 3), ("", "150000 100000", 2), ("9", "900000 100000", 8), ("0", "", 1)],
)
def test_cores_are_no_more_than_asked_for_or_than_the_container_has(monkeypatch, tmp_path, asked, quota, used):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(parallel, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert parallel.cores() == used
