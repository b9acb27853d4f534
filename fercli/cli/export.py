"""`fer export`."""

from typing import Any

import click

from ..models.shipped import model_path
from ..stages.export import ExportSpec, export
from ..stages.runner import Log
from . import options
from .console import Console
from .stage import tell


@click.command("export")
@click.argument("model", default="-", metavar="[MODEL]", shell_complete=options.files, callback=options.given_value)
@click.option(
    "-o", "--output", default="-", metavar="OUT", shell_complete=options.files, callback=options.a_file,
    help="File to write, .onnx or .safetensors. [default: standard output]",
)  # fmt: skip
@options.settings(ExportSpec)
@options.force
@options.dry_run
@options.machine
@options.console
def command(model: str, output: str, force: bool, dry_run: bool, **arguments: Any) -> None:
    """Write a model for other programs: as an ONNX graph, or as weights in safetensors.

    MODEL is a store made by fer train, or one that comes with fercli: default, or fast.

    Classes, channels, size, normalisation and how the model was made are in the file's metadata. An ONNX file takes any
    number of faces at once; where ONNX Runtime is installed it is run there, and written only if it answers as the
    model does. What fer gradients makes of a face is not in the file: the second input of a hybrid model is its HOG
    features.

    \b
      fer export model.h5 -o model.onnx
      fer export default --preprocessing --softmax -o default.onnx
      fer export model.h5 -o model.safetensors
      fer train --init model.safetensors faces.h5 -o tuned.h5
    """
    console = click.get_current_context().find_object(Console)
    spec = options.given(ExportSpec, arguments)
    tell(console, export(model_path(model), output, spec, Log(interface=console), force=force, dry_run=dry_run))
