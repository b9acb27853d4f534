"""Work beside other work: a map over threads, and items made ahead of time; both in order and few at a time.

Threads speak through queues that are written in C: an interrupt may leave a lock that Python code takes, as those of
conditions and futures are, locked forever, and whoever waits for it. And loops have a frame of their own within a
`try`: CPython 3.12 and 3.13 skip the `finally` where an interrupt comes as a loop of the same frame begins anew.
"""

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeAlias, TypeVar

from ..interrupts import held

#: Microseconds of processor time in each period of so many: "200000 100000".
_QUOTA = Path("/sys/fs/cgroup/cpu.max")

T = TypeVar("T")
R = TypeVar("R")

#: What a function returned, or raised.
_Tried: TypeAlias = tuple[R | None, BaseException | None]


def cores() -> int:
    """Processor cores that this process may use: no more than OMP_NUM_THREADS, which libraries heed too, and than its
    container's share of their time.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(there, int(asked) if asked.isdigit() else there, _quota() or there))


def _quota() -> int | None:
    """Cores whose whole time the container may use, rounded up (cgroup v2); None without a bound."""
    try:
        most, period = _QUOTA.read_text().split()
        return -(-int(most) // int(period))
    except (OSError, ValueError):  # there is no such file, or it says "max"
        return None


def ordered_map(function: Callable[[T], R], items: Iterable[T], ahead: int = 2) -> Iterator[R]:
    """`map` over as many threads as there are cores, results in the order of `items`.

    At most `ahead` items a core are under way or waiting, so that memory stays bounded. For functions that release the
    interpreter lock, as OpenCV's do.
    """
    threads = cores()
    given: SimpleQueue[tuple[T, SimpleQueue[_Tried[R]]] | None] = SimpleQueue()
    workers: list[threading.Thread] = []
    waiting: deque[SimpleQueue[_Tried[R]]] = deque()

    def work() -> None:
        while (task := given.get()) is not None:
            task[1].put(_try(function, task[0]))
            del task  # while it waits for the next

    def results() -> Iterator[R]:
        for item in items:
            waiting.append(SimpleQueue())
            given.put((item, waiting[-1]))
            if len(workers) < threads:
                workers.append(_thread(work))
                _start(workers[-1])
            if len(waiting) > ahead * threads:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())

    try:
        yield from results()
    finally:
        with contextlib.suppress(Empty):  # of items that nobody waits for
            while True:
                given.get_nowait()
        for _ in workers:
            given.put(None)
        _join(workers)


def buffered(items: Iterable[T], ahead: int, latest: bool = False) -> Generator[T, None, None]:
    """The items, made by a thread of their own while the caller is busy with those before; at most `ahead` wait.

    With `latest` the thread never waits either, and the oldest item that waits gives way to a new one. What `items`
    raises is raised here, after the items before it. When the caller stops early, `items` is closed, if it can be.
    """
    made: SimpleQueue[tuple[T] | None] = SimpleQueue()  # the items that wait; None behind the last
    room: SimpleQueue[None] = SimpleQueue()  # one for each that may be added
    for _ in range(ahead):
        room.put(None)
    closed = False
    errors: list[BaseException] = []

    def make_room() -> None:
        try:
            room.get_nowait()
        except Empty:
            if latest:
                with contextlib.suppress(Empty):
                    made.get_nowait()
                    return
            room.get()  # the caller has just taken the one that was to give way, or will

    def make() -> None:
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(getattr(items, "close", lambda: None))
                for item in items:
                    make_room()
                    if closed:
                        break
                    made.put((item,))
        except BaseException as error:  # the caller's to handle, whatever it is
            errors.append(error)
        made.put(None)

    def taken() -> Iterator[T]:
        while (item := made.get()) is not None:
            room.put(None)
            yield item[0]

    maker = _thread(make)
    try:
        _start(maker)
        yield from taken()
    finally:
        closed = True
        room.put(None)
        _join([maker])
    if errors:
        raise errors.pop()


def _try(function: Callable[[T], R], item: T) -> _Tried[R]:
    try:
        return function(item), None
    except BaseException as error:  # the caller's to handle, whatever it is
        return None, error


def _result(answer: SimpleQueue[_Tried[R]]) -> R:
    result, error = answer.get()
    try:
        if error is not None:
            raise error
        return result
    finally:
        del error  # whose traceback holds this frame, and all before it that should end


def _thread(work: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=work, daemon=True)  # a caller that is never closed must not keep the process


def _start(thread: threading.Thread) -> None:
    with held():  # a thread that starts is waited for, with a lock as above
        thread.start()


def _join(threads: Iterable[threading.Thread]) -> None:
    for thread in threads:
        if thread.ident is None or thread is threading.current_thread() or sys.is_finalizing():
            continue  # an interrupt came before it was started; or it frees a caller that was forgotten; or cannot run
        thread.join()
