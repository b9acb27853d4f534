"""Kills a command of fer again and again, in children of one warm process. `python -m tests.killing` takes a job as
JSON on standard input and prints what came of it.

A child is killed or interrupted at a random moment, or killed as it takes the n-th step that touches the file system,
for every n.
"""

import contextlib
import importlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

STEPS = ("open", "os.rename", "os.chmod", "os.remove", "fcntl.flock", "tempfile.mkstemp")

#: Exit status of a child that was interrupted before fer began.
EARLY = 98


def run(arguments, step=None, told=None):
    """Starts the command in a child, which kills itself as it takes `step`; returns its process id.

    Into the descriptor `told` the child writes the names of all modules that it has loaded at its end.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the child is ready for it
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        return child
    status = 99
    try:
        for number in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        from fercli.cli import main

        sys.argv = ["fer", *arguments]
        if step is not None:
            die_at(step)
        main()
    except SystemExit as end:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = end.code
        if told is not None:
            os.write(told, "\n".join(sys.modules).encode())
    except KeyboardInterrupt:
        status = EARLY
    finally:
        os._exit(status)


def warm(arguments):
    """Loads what the command loads, which takes longer than what it does."""
    reading, writing = os.pipe()
    child = run(arguments, told=writing)
    os.close(writing)
    with open(reading) as told:
        names = told.read().split()
    os.waitpid(child, 0)
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def die_at(step):
    left = step

    def hook(event, _):
        nonlocal left
        if event in STEPS:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)


def finish(arguments):
    """Runs the command to its end; returns its exit status and how long it took in seconds."""
    began = time.perf_counter()
    _, status = os.waitpid(run(arguments), 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - began


class Scene:
    """A command's output, of which an older one is there before each run."""

    def __init__(self, job):
        self.arguments, self.target = job["arguments"], Path(job["target"])
        self.old = self.target.read_bytes()
        self.status, self.seconds = finish(self.arguments)
        for _ in range(2):  # one run may be slow for some other reason, and then most kills would come too late
            self.target.write_bytes(self.old)
            self.seconds = min(self.seconds, finish(self.arguments)[1])
        self.new = self.target.read_bytes()
        self.seen = {"old": 0, "new": 0, "other": 0, "litter": 0, "broken": 0}

    def look(self):
        """Counts what a killed run left, and puts the old output back."""
        found = self.target.read_bytes()
        self.seen["old" if found == self.old else "new" if found == self.new else "other"] += 1
        self.seen["litter"] = max(self.seen["litter"], len(self.litter()))
        checkpoint = Path(f"{self.target}.checkpoint")
        if checkpoint.exists():
            self.seen["broken"] += not complete(checkpoint)
        self.target.write_bytes(self.old)

    def litter(self):
        return [name for name in os.listdir(self.target.parent) if ".part-" in name]

    def end(self):
        """What a last run, which nothing disturbs, makes of it all."""
        status, _ = finish(self.arguments)
        same = self.target.read_bytes() == self.new != self.old
        return self.seen | {"first": self.status, "last": status, "same": same, "left": self.litter()}


def complete(path):
    from fercli.errors import DataError
    from fercli.store import open_store

    try:
        with open_store(path, "model") as store:
            return len(store.array("history/loss")) > 0
    except DataError:
        return False


def at_random(scene, kills, number):
    rng, statuses = random.Random(0), set()
    for _ in range(kills):
        child = run(scene.arguments)
        time.sleep(rng.uniform(0, 1.1 * scene.seconds))
        os.kill(child, number)
        _, status = os.waitpid(child, 0)
        statuses.add(os.waitstatus_to_exitcode(status))
        scene.look()
    scene.seen["statuses"] = sorted(statuses)


def at_every_step(scene):
    status, step = -signal.SIGKILL, 0
    while status == -signal.SIGKILL:
        _, raw = os.waitpid(run(scene.arguments, step), 0)
        status, step = os.waitstatus_to_exitcode(raw), step + 1
        scene.look()
    scene.seen["steps"] = step - 1


def main():
    job = json.load(sys.stdin)
    os.fsync = lambda _: None  # a kill loses nothing that was written, waiting for the disk or not
    old = Path(job["target"]).read_bytes()
    warm(job["arguments"])
    Path(job["target"]).write_bytes(old)
    scene = Scene(job)
    if job["kills"] is None:
        at_every_step(scene)
    else:
        at_random(scene, job["kills"], signal.Signals[job["signal"]])
    print(json.dumps(scene.end()))


if __name__ == "__main__":
    main()
