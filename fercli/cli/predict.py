"""`fer predict`."""

import os
from typing import Any

import click

from ..errors import UsageError
from ..models.shipped import model_path
from ..stages import labelling, rows, runner
from ..stages.opening import opened
from ..stages.outputs import OutputSpec
from ..stages.predict import PredictSpec
from . import options
from .console import Console
from .stage import tell

_FORM_OF = {".h5": "store", ".hdf5": "store", ".csv": "csv", ".tsv": "tsv"}
_FORM_OF |= dict.fromkeys((".jsonl", ".ndjson", ".json", ".txt", ""), "jsonl")


@click.command("predict")
@options.inputs
@click.option(
    "-o", "--output", default="-", metavar="OUT", shell_complete=options.files, callback=options.a_file,
    help="File to write. [default: standard output]",
)  # fmt: skip
@options.model
@click.option(
    "--format",
    "form",
    type=click.Choice([*rows.FORMATS, "store"]),
    help="Form of the rows. [default: by the name of OUT; jsonl for standard output]",
)
@options.files_from
@options.null
@options.settings(PredictSpec)
@options.settings(OutputSpec)
@click.option(
    "-f",
    "--force",
    is_flag=True,
    help="Run even if OUT is up to date, or a file of another kind; --contact-sheet and --annotate may replace another "
    "picture or video.",
)
@options.dry_run
@options.machine
@options.console
def command(
    inputs: tuple[str, ...], output: str, model: str | None, form: str | None, files_from: str | None, null: bool,
    force: bool, **arguments: Any,
) -> None:  # fmt: skip
    """Label faces: one row a face, with its source, box, label, confidence and all probabilities.

    IN are photos (JPEG, PNG, BMP, GIF, TIFF, WebP), folders, archives and globs; or stores; or videos and cameras
    (camera:0), whose rows come frame by frame with the number of the face's track. A photo or frame without a face has
    a row that says so; one that cannot be read has a row with its error, and the exit code is 4 at the end. Of a run
    that is interrupted or fails the rows so far are kept, but not in a store, and not where OUT was there before.

    torchrun --nproc-per-node N -m fercli predict labels in N processes, with a GPU each if there are any.

    \b
      fer predict photos/ > labels.jsonl
      fer predict -m model.h5 faces.h5 --split test -o predictions.h5
      fer predict -m model.h5 clip.mp4 --smooth 0.5 -o labels.csv
      find . -name '*.jpg' -print0 | fer predict -m model.h5 --files-from - -0 --format csv
    """
    model = model_path(model)
    spec, wanted = options.given(PredictSpec, arguments), options.given(OutputSpec, arguments)
    form = form or _FORM_OF.get(os.path.splitext(wanted.resume or output)[1].lower())
    read = (*inputs, files_from) if inputs or files_from else ("-",)
    runner.check_files((*read, model, *spec.files))
    runner.check_output((*inputs, model, files_from, *spec.files), output, binary=form == "store")
    if form is None:
        raise _formless(wanted.resume or output)
    console = click.get_current_context().find_object(Console)
    log = runner.Log("skip", console)
    with opened(inputs, files_from, null) as src:
        outcome = labelling.run(src, model, output, form, spec, wanted, log, force=force, dry_run=arguments["dry_run"])
    tell(console, outcome)


def _formless(output: str) -> UsageError:
    """For the name of a file that does not tell the form of the rows, as that of a spreadsheet."""
    return UsageError(
        f"the name {output} does not tell the form of the rows: add --format {', '.join(rows.FORMATS)} or store"
    )
