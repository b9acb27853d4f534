"""`fer predict`."""

import glob
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from ..errors import DataError, UsageError
from ..layouts import Source
from ..layouts.files import StandardInput
from ..stages import predict, rows, runner
from ..stages.ingest import resolve
from ..stages.predict import PredictSpec
from ..store import Reader, block_rows, is_store, open_store, replacing
from . import options
from .console import Console
from .stage import tell

_FORM_OF = {".h5": "store", ".hdf5": "store", ".csv": "csv", ".tsv": "tsv"}


@click.command("predict")
@options.inputs
@click.option(
    "-o", "--output", default="-", metavar="OUT", shell_complete=options.files,
    help="File to write. [default: standard output]",
)  # fmt: skip
@options.model
@click.option(
    "--format",
    "form",
    type=click.Choice([*rows.FORMATS, "store"]),
    help="Form of the rows. [default: by the name of OUT, or jsonl]",
)
@options.files_from
@options.null
@options.settings(PredictSpec)
@options.force
@options.dry_run
@options.machine
@options.console
def command(
    inputs: tuple[str, ...], output: str, model: str | None, form: str | None, files_from: str | None, null: bool,
    **arguments: Any,
) -> None:  # fmt: skip
    """Label faces: one row a face, with its source, box, label, confidence and all probabilities.

    IN are photos, folders, archives and globs, or stores. A photo without a face has a row that says so; one that
    cannot be read has a row with its error, and the exit code is 4 at the end.

    \b
      fer predict -m model.h5 photos/ > labels.jsonl
      fer predict -m model.h5 faces.h5 --split test -o predictions.h5
      find . -name '*.jpg' -print0 | fer predict -m model.h5 --files-from - -0 --format csv
    """
    if model is None:
        raise UsageError("a model is needed to label faces: name one that fer train made with -m MODEL")
    spec, form = options.given(PredictSpec, arguments), form or _form_of(output)
    runner.check_output((*inputs, model), output, binary=form == "store")
    console = click.get_current_context().find_object(Console)
    log = runner.Log("skip", console)
    with _opened(inputs, files_from, null) as src:
        if spec.split and not isinstance(src, Reader):
            raise UsageError("--split chooses rows of a store, and photos are of no split: leave it out")
        if form == "store":
            force, dry_run = arguments["force"], arguments["dry_run"]
            outcome = predict.store(src, model, output, spec, log, force=force, dry_run=dry_run)
        elif arguments["dry_run"]:
            outcome = runner.Outcome("predict", output, dry_run=True)
        else:
            outcome = _as_text(src, model, output, form, spec, log)
    tell(console, outcome)


def _form_of(output: str) -> str:
    return _FORM_OF.get(os.path.splitext(output)[1].lower(), "jsonl")


def _as_text(
    src: Reader | list[Source], model: str, output: str, form: str, spec: PredictSpec, log: runner.Log
) -> runner.Outcome:
    """Writes rows as lines while they come; a file takes its place when it is complete."""
    outcome = runner.Outcome("predict", output, failures=log.failures)
    with _destination(output) as file:
        predictor = predict.Predictor.load(model, spec)
        text = rows.text_of(form, predictor.classes)
        for block in predict.predictions(src, predictor, log):
            file.write(text(block))
            file.flush()
            outcome.rows += block_rows(block)
    return outcome


@contextmanager
def _destination(output: str) -> Iterator[BinaryIO]:
    if output == "-":
        yield sys.stdout.buffer
        return
    with replacing(Path(output)) as part, open(part, "wb") as file:
        yield file


@contextmanager
def _opened(inputs: Sequence[str], files_from: str | None, null: bool) -> Iterator[Reader | list[Source]]:
    """What is named: one table where these are stores (or a store on standard input), else sources of photos."""
    paths = list(_expanded(inputs)) or ([] if files_from else ["-"])
    if "-" in paths and (len(paths) > 1 or files_from):
        raise UsageError("standard input is one input by itself: name '-' alone")
    stores = [path for path in paths if _is_store(path)]
    if not stores:
        yield [StandardInput()] if paths == ["-"] else resolve(paths, files_from, null)
    elif len(stores) < len(paths) or files_from:
        other = next((path for path in paths if path not in stores), f"--files-from {files_from}")
        raise UsageError(f"{stores[0]} is a store and {other} is not: label them in two runs")
    else:
        with open_store(stores) as src:
            yield src


def _expanded(inputs: Sequence[str]) -> Iterator[str]:
    """The inputs, with the patterns that the shell has left resolved."""
    for path in inputs:
        if os.path.lexists(path) or not glob.has_magic(path):
            yield path
            continue
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise DataError(f"no file matches {path}")
        yield from found


def _is_store(path: str) -> bool:
    """Whether a store is there, or arrives on standard input; an empty stream is taken for one, which tells of it."""
    if path == "-":
        if sys.stdin.isatty():
            raise UsageError("standard input is a terminal: name photos, a folder or a store")
        head = sys.stdin.buffer.peek(8)[:8]
        return not head or is_store(head)
    if stat.S_ISFIFO(_mode(path)):  # <(fer ...) of the shell; what comes out of it can be read once
        return True
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return is_store(file.read(8))


def _mode(path: str) -> int:
    """The kind of what is at a path; 0 where nothing is."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return 0
