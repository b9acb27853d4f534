"""`fer detect`."""

from typing import Any

import click

from ..stages.detect import DetectSpec, run
from ..stages.runner import Stage
from . import options
from .stage import run_stage


@click.command("detect")
@options.stage(DetectSpec)
def command(**arguments: Any) -> None:
    """Find faces in photos and crop them to gray squares.

    \b
      fer ingest photos/ | fer detect -o faces.h5
      fer detect --detector none --size 48 crops.h5 -o faces.h5
    """
    run_stage(Stage("detect", run), DetectSpec, arguments)
