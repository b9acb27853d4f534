"""Runs a stage: checks, cache key, commit, provenance. A stage is a function of (rows, spec), no more."""

import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import __version__
from ..errors import DataError, UsageError
from ..learn import ranks
from ..spec import Spec
from ..store import Block, Foreign, Writer, check_stdout, check_writable, create_store, open_store, opened

if TYPE_CHECKING:
    import numpy as np


#: The facts of a run with a network that its output tells too: what `auto` came to on that machine.
_COMPUTED = ("device", "precision")


class Interface(Protocol):
    """What the runner tells the person in front of it."""

    def note(self, text: str) -> None: ...
    def total(self, rows: int) -> None: ...
    def advance(self, rows: int) -> None: ...
    def stands(self, text: str) -> None: ...


class Silent:
    """An Interface that says nothing, for use as a library."""

    def note(self, text: str) -> None:
        """Drops the note."""

    def total(self, rows: int) -> None:
        """Drops the number of rows."""

    def advance(self, rows: int) -> None:
        """Drops the progress."""

    def stands(self, text: str) -> None:
        """Drops how the work stands."""


class Log:
    """Handed to a stage: bad rows, progress and notes."""

    def __init__(self, on_error: str = "fail", interface: Interface | None = None) -> None:
        self._on_error = on_error
        self._interface = interface or Silent()
        self.failures: list[tuple[str, str]] = []
        self.facts: dict[str, Any] = {}  # what the machine summary tells besides

    def failed(self, source: str, reason: str) -> None:
        """Reports a bad row: an error under `--on-error fail`, else it is counted and told at the end."""
        if self._on_error == "fail":
            raise DataError(f"{source}: {reason}; leave such rows out with --on-error skip")
        self.failures.append((source, reason))

    def note(self, text: str) -> None:
        """One line for the user."""
        self._interface.note(text)

    def total(self, rows: int) -> None:
        """How many rows there will be, for the progress bar."""
        self._interface.total(rows)

    def advance(self, rows: int) -> None:
        """So many more rows are done."""
        self._interface.advance(rows)

    def stands(self, text: str) -> None:
        """How the work stands, in a few words beside the progress bar."""
        self._interface.stands(text)


class Nowhere:
    """Takes what a `Writer` takes and drops it: the output of a process that helps the one that writes."""

    def start(self, kind: str, classes: Sequence[str], channels: Sequence[str] = ()) -> None:
        """Drops it."""

    def append(self, block: Block) -> None:
        """Drops it."""

    def document(self, name: str, value: Any) -> None:
        """Drops it."""

    def array(self, name: str, values: "np.ndarray") -> None:
        """Drops it."""


@dataclass(frozen=True)
class Stage:
    """A stage: its name, its function, the kinds of store that it reads and writes, and the digests of files its
    settings name.
    """

    name: str
    run: Callable[[Any, Writer, Any, Log], None]
    reads: str = "samples"
    writes: str = "samples"
    named: Callable[[Any], Sequence[str]] = lambda spec: ()


@dataclass
class Outcome:
    """What a run did. `failures` are (source, reason) of the rows that were left out."""

    stage: str
    output: str
    rows: int = 0
    up_to_date: bool = False
    dry_run: bool = False
    failures: list[tuple[str, str]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # what else the machine summary tells

    def as_dict(self) -> dict[str, Any]:
        """The machine summary of `--json`."""
        told = dataclasses.asdict(self)
        told["failures"] = [{"source": source, "reason": reason} for source, reason in self.failures]
        return told | told.pop("facts")


def run_on_stores(
    stage: Stage,
    inputs: Sequence[str],
    output: str,
    spec: Spec,
    log: Log,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Runs a stage over the rows of one store or several ("-": standard input) and commits its store to `output`."""
    check_files([*inputs, *spec.files])
    check_output([*inputs, *spec.files], output)
    with open_store(inputs, stage.reads) as src:
        return run(
            stage, src, output, spec, log,
            digests=lambda: [*src.digests, *stage.named(spec)], chain=src.provenance, force=force, dry_run=dry_run,
        )  # fmt: skip


def run(
    stage: Stage,
    src: Any,
    output: str,
    spec: Spec,
    log: Log,
    *,
    digests: Callable[[], Sequence[str]],
    chain: Sequence[dict[str, Any]] = (),
    force: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Runs a stage over an open source. An output that already has the key asked for is left alone; what else is there
    than the stage writes is replaced by `force` alone (UsageError).

    `digests` gives the hex digests of the inputs, and raises where one has changed since it was opened: it is asked
    before the output takes its place. `chain` is the provenance that they bring.
    """
    outcome = Outcome(stage.name, output)
    if ranks.agreed(not force and _is_current(output, stage.name, spec, digests)):
        outcome.up_to_date = True
        return outcome
    if not force and output != "-":
        what = "model" if stage.writes == "model" else f"store of {stage.writes}"
        check_replaced(output, what, lambda: _holds(output, stage.writes))
    if dry_run:
        outcome.dry_run = True
        return outcome
    if not ranks.writes():
        stage.run(src, Nowhere(), spec, log)
        return outcome
    with create_store(output) as writer:
        stage.run(src, writer, spec, log)
        if not writer.kind:
            raise DataError(f"fer {stage.name} found no rows to write")
        entry = provenance_entry(stage.name, spec, digests(), writer.rows, log.failures)
        entry |= {name: log.facts[name] for name in _COMPUTED if name in log.facts}
        writer.document("provenance", [*chain, entry])
        outcome.rows = writer.rows
    outcome.failures, outcome.facts = log.failures, log.facts
    return outcome


def _is_current(output: str, stage: str, spec: Spec, digests: Callable[[], Sequence[str]]) -> bool:
    """Whether the output is there with the key asked for. The inputs are hashed only if it might be."""
    if output == "-" or not Path(output).exists():
        return False
    recorded = recorded_key(output)
    return recorded is not None and recorded == key(stage, spec, digests())


def key(stage: str, spec: Spec, digests: Sequence[str]) -> str:
    """What an output depends on, as a hex hash: stage, settings, version of the code, inputs."""
    facts = json.dumps([stage, spec.as_dict(), __version__, list(digests)], sort_keys=True)
    return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()


def provenance_entry(
    stage: str, spec: Spec, digests: Sequence[str], rows: int, failures: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """One stage's line in the chain: no clock and no path, so that the same command gives the same bytes."""
    return {
        "stage": stage, "spec": spec.as_dict(), "version": __version__, "inputs": list(digests), "rows": rows,
        "failed": len(failures), "key": key(stage, spec, digests),
    }  # fmt: skip


def recorded_key(path: str) -> str | None:
    """The key of the last stage that made a store; None for what is no complete store, or lacks rows that failed."""
    try:
        with open_store(path, ("samples", "predictions", "model")) as store:
            last = store.provenance[-1]
    except (DataError, IndexError):
        return None
    return None if last["failed"] else last["key"]


def check_files(names: Sequence[str | None]) -> None:
    """Raises UsageError where standard input is to be two files, or several processes would read it."""
    if names.count("-") > 1:
        raise UsageError("standard input is named twice, and can be read once")
    if "-" in names:
        ranks.check_alone("reading standard input", "write it to a file first, and name that")


def check_output(inputs: Sequence[str | None], output: str, binary: bool = True) -> None:
    """Raises before any work: an output that is also an input, that is named as a photo or a video is, that cannot be
    written, or a terminal for a store. What is not `binary` may go to a device or a pipe too.
    """
    from ..layouts.files import is_image
    from ..layouts.video import is_video

    if output == "-":
        if binary:
            check_stdout()
        return
    if is_sink(output) and not binary:
        return
    for name in inputs:
        if name not in (None, "-") and are_one(name, output):
            raise UsageError(f"{output} is both input and output: name another file with -o")
    if is_image(output) or is_video(output):  # as the first of *.jpg behind -o is
        raise UsageError(
            f"{output} has the name of a photo or video, and what is written is neither: name it otherwise"
        )
    check_writable(Path(output))


def check_replaced(output: str, what: str, is_ours: Callable[[], bool], flag: str = "-o") -> None:
    """Raises UsageError where something is there that would be lost, such as the first of *.csv behind a `flag`:
    anything but `what` this package makes anew, of which `is_ours` tells whether it is that.
    """
    if os.path.isfile(output) and os.path.getsize(output) and not is_ours():
        raise UsageError(f"{output} is there and is no {what}: name another file with {flag}, or add --force")


def _holds(path: str, kind: str) -> bool:
    """Whether a file is a store of this kind, or damaged, so that nothing is lost. DataError: it cannot be read."""
    with opened(path):
        pass
    try:
        with open_store(path, ("samples", "predictions", "model")) as there:
            return there.kind == kind
    except Foreign:
        return False
    except DataError:
        return True


def is_sink(path: str) -> bool:
    """Whether what is written to a path goes on, to a device such as /dev/null or a pipe as the shell's >(gzip)."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def are_one(path: Path | str, other: Path | str) -> bool:
    """Whether two paths lead to one file or folder."""
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)
