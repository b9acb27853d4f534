"""Prediction blocks that several processes make in turns, put in the order in which one would make them."""

import heapq
import io
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..learn import ranks
from ..ops.parallel import buffered
from ..store import Block, objects
from .runner import Log

#: Blocks that a process makes before it waits for process 0 to take one.
_AHEAD = 2


class _Made(NamedTuple):
    """A block, and what failed on the way to it."""

    block: Block
    failures: list[tuple[str, str]]

    @property
    def first(self) -> int:
        return int(self.block["parent"][0])


def mine(count: int, turn: int) -> np.ndarray:
    """The numbers (n,), of `count` rows or photos, that this process labels: every so many turns one is its.

    A turn is `turn` of them, fewer where not all would get one. Raises DataError where the processes count differently.
    """
    if ranks.size() == 1:
        return np.arange(count)
    if len(set(ranks.everyones(count))) > 1:
        raise DataError("the processes of this run see different inputs: put them where all machines read the same")
    turn = max(1, min(turn, -(-count // ranks.size())))
    return np.flatnonzero(np.arange(count) // turn % ranks.size() == ranks.rank())


def merged(blocks: Iterator[Block], log: Log) -> Iterator[Block]:
    """The blocks of all processes in the order of their rows' `parent`, with their failures and progress: in process 0.

    The others give theirs, and yield none. No block may hold rows of two turns.
    """
    if ranks.size() == 1:
        yield from blocks
    elif ranks.writes():
        others = (_received(sender, log) for sender in range(1, ranks.size()))
        for made in heapq.merge(_with_failures(blocks, log), *others, key=lambda made: made.first):
            log.failures += made.failures
            yield made.block
    else:
        for made in buffered(_with_failures(blocks, log), _AHEAD):
            ranks.send(_packed(made))
        ranks.send(b"")


def _with_failures(blocks: Iterator[Block], log: Log) -> Iterator[_Made]:
    """The blocks with what failed since the one before, which is taken out of the log."""
    blocks, end = iter(blocks), object()
    while True:
        before = len(log.failures)
        block = next(blocks, end)
        if block is end:
            return
        failures = log.failures[before:]
        del log.failures[before:]
        yield _Made(block, failures)


def _received(sender: int, log: Log) -> Iterator[_Made]:
    while data := ranks.receive(sender):
        made = _unpacked(data)
        log.advance(len(np.unique(made.block["parent"])))
        yield made


def _packed(made: _Made) -> bytes:
    """Arrays and texts as they are, without pickles."""
    plain = {name: values.astype(str) if values.dtype == object else values for name, values in made.block.items()}
    file = io.BytesIO()
    np.savez(file, json.dumps(made.failures), **plain)
    return file.getvalue()


def _unpacked(data: bytes) -> _Made:
    with np.load(io.BytesIO(data)) as found:
        failures = [tuple(one) for one in json.loads(str(found["arr_0"]))]
        block = {name: found[name] for name in found.files if name != "arr_0"}
    texts = {name: objects(values.tolist()) for name, values in block.items() if values.dtype.kind == "U"}
    return _Made(block | texts, failures)
