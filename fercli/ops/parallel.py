"""Work beside other work: a map over threads, and items made ahead of time; both in order and few at a time."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

#: Microseconds of processor time in each period of so many: "200000 100000".
_QUOTA = Path("/sys/fs/cgroup/cpu.max")

T = TypeVar("T")
R = TypeVar("R")


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
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def buffered(items: Iterable[T], ahead: int, latest: bool = False) -> Generator[T, None, None]:
    """The items, made by a thread of their own while the caller is busy with those before; at most `ahead` wait.

    With `latest` the thread never waits either, and the oldest item that waits gives way to a new one. What `items`
    raises is raised here, after the items before it. When the caller stops early, `items` is closed, if it can be.
    """
    waiting: deque[T] = deque(maxlen=ahead)
    changed = threading.Condition()
    ended = closed = False
    errors: list[BaseException] = []

    def make() -> None:
        nonlocal ended
        try:
            for item in items:
                with changed:
                    changed.wait_for(lambda: latest or closed or len(waiting) < ahead)
                    if closed:
                        break
                    waiting.append(item)
                    changed.notify_all()
        except BaseException as error:  # the caller's to handle, whatever it is
            errors.append(error)
        finally:
            getattr(items, "close", lambda: None)()
            with changed:
                ended = True
                changed.notify_all()

    maker = threading.Thread(target=make, daemon=True)  # a caller that is never closed must not keep the process
    maker.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: waiting or ended)
                if not waiting:
                    break
                item = waiting.popleft()
                changed.notify_all()
            yield item
    finally:
        with changed:
            closed = True
            changed.notify_all()
        maker.join()
    if errors:
        raise errors[0]
