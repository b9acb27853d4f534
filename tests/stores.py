"""Small stores for the tests, and a standard input that is a real pipe."""

import contextlib
import io
import os
import sys
import threading
from unittest import mock

import numpy as np

from fercli.store import create_store, objects

CLASSES = ("angry", "happy", "neutral")


def samples(rows=6, size=4, classes=3, seed=0):
    """A block with a column of each kind but photos."""
    rng = np.random.default_rng(seed)
    votes = rng.random((rows, classes)).astype(np.float32)
    return {
        "image": rng.integers(0, 256, (rows, size, size), np.uint8),
        "label": (np.arange(rows) % (classes + 1) - 1).astype(np.int16),
        "votes": votes,
        "split": (np.arange(rows) % 3).astype(np.int8),
        "source": objects(f"photo {row}.jpg" for row in range(rows)),
        "parent": np.arange(rows),
        "digest": rng.integers(0, 256, (rows, 16), np.uint8),
    }


def photos(*files):
    """A block of photos of any size."""
    return {
        "encoded": objects(files),
        "height": np.full(len(files), 5, np.int32),
        "width": np.full(len(files), 7, np.int32),
    }


def entry(stage="ingest", **more):
    """A provenance entry."""
    facts = {"stage": stage, "spec": {}, "version": "1", "inputs": ["ab"], "rows": 6, "failed": 0, "key": "k"}
    return {**facts, **more}


def write(path, *blocks, kind="samples", classes=CLASSES, channels=None, documents=None, arrays=None):
    """Writes a store of these blocks; returns its path as a str."""
    if channels is None:
        channels = ("gray",) if blocks and "image" in blocks[0] else ()
    with mock.patch("os.fsync"), create_store(path) as store:  # also where a test runs this in a process of its own
        store.start(kind, classes, channels)
        for block in blocks:
            store.append(block)
        for name, value in (documents or {}).items():
            store.document(name, value)
        for name, values in (arrays or {}).items():
            store.array(name, values)
    return str(path)


@contextlib.contextmanager
def stdin_pipe(data):
    """Standard input is the reading end of a pipe into which `data` flows."""
    reading, writing = os.pipe()

    def feed():
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as out:
            out.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with stdin_file(os.fdopen(reading, "rb")):
        yield
    feeder.join()


@contextlib.contextmanager
def stdin_file(binary):
    """Standard input is this open file, which is closed at the end."""
    old, sys.stdin = sys.stdin, io.TextIOWrapper(binary)
    try:
        yield
    finally:
        sys.stdin.close()
        sys.stdin = old
