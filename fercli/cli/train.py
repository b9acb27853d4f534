"""`fer train`."""

from typing import Any

import click

from ..recipes.recipe import load
from ..stages.train import Checkpoint, TrainSpec, stage
from . import options
from .stage import run_stage


@click.command("train")
@options.stage(TrainSpec)
@click.option("--recipe", metavar="NAME|FILE", help="Take the settings of a recipe; those given here go before it.")
@click.option("--resume", is_flag=True, help="Go on with the run in OUT.checkpoint, or begin without one.")
def command(recipe: str | None, resume: bool, **arguments: Any) -> None:
    """Train a network on the train rows; the model of the best epoch in validation is kept.

    After every epoch the run is saved in OUT.checkpoint. A rerun of a command that was cut off goes on from there, with
    or without --resume; --force starts over.

    \b
      fer train --recipe njoku faces.h5 -o model.h5
      fer train --model njoku --epochs 20 --holdout 0.1 faces.h5 -o model.h5
      fer train --init model.h5 --freeze 2 jaffe.h5 -o jaffe-model.h5
      fer ingest fer2013.csv | fer train --recipe njoku --resume -o model.h5
    """
    checkpoint = Checkpoint.beside(arguments["output"], resume, arguments["force"])
    settings = load(recipe).settings("train") if recipe else None
    run_stage(stage(checkpoint), TrainSpec, arguments, settings)
    if checkpoint and not arguments["dry_run"]:
        checkpoint.remove()
