"""Runs a stage: checks, cache key, commit, provenance. A stage is a function of (rows, spec), no more."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import __version__
from ..errors import DataError, UsageError
from ..learn import ranks
from ..spec import Spec
from ..store import Block, Writer, check_stdout, check_writable, create_store, is_store, open_store, opened

if TYPE_CHECKING:
    import numpy as np


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
    """A stage: its name, its function, the kind of store that it reads, and the digests of files its settings name."""

    name: str
    run: Callable[[Any, Writer, Any, Log], None]
    reads: str = "samples"
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
    """Runs a stage over an open source. An output that already has the key asked for is left alone.

    `digests` gives the hex digests of the inputs, and raises where one has changed since it was opened: it is asked
    before the output takes its place. `chain` is the provenance that they bring.
    """
    outcome = Outcome(stage.name, output)
    if ranks.agreed(not force and _is_current(output, stage.name, spec, digests)):
        outcome.up_to_date = True
        return outcome
    if not force and output != "-":
        _check_replaced(output)
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
    written, or a terminal for a store.
    """
    from ..layouts.files import is_image
    from ..layouts.video import is_video

    if output == "-":
        if binary:
            check_stdout()
        return
    for name in inputs:
        if name not in (None, "-") and are_one(name, output):
            raise UsageError(f"{output} is both input and output: name another file with -o")
    if is_image(output) or is_video(output):  # as the first of *.jpg behind -o is
        raise UsageError(
            f"{output} has the name of a photo or video, and what is written is neither: name it otherwise"
        )
    check_writable(Path(output))


def _check_replaced(output: str) -> None:
    """Raises UsageError where a file is there that no stage made, such as the first of *.csv behind -o."""
    if os.path.isfile(output) and os.path.getsize(output):
        with opened(output) as file:
            if not is_store(file.read(8)):
                raise UsageError(f"{output} is there and is no store: name another file with -o, or add --force")


def are_one(path: Path | str, other: Path | str) -> bool:
    """Whether two paths lead to one file or folder."""
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)
