"""`fer train`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from ..learn import ranks
from ..recipes.recipe import Recipe, load
from ..stages import crossval, search, train
from ..stages.checkpoint import Checkpoint
from ..stages.dense import GRADIENTS
from ..stages.runner import Log
from ..stages.train import TrainSpec
from ..store import Reader, Writer
from . import options
from .stage import run_stage


@click.command("train")
@options.stage(TrainSpec)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    shell_complete=options.files,
    callback=options.given_value,
    help="Take the settings that a recipe has for train; those given here win. fer recipe run runs all its stages.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in OUT.checkpoint, or begin without one.")
def command(recipe: str | None, resume: bool, **arguments: Any) -> None:
    """Train a network on the train rows; the model of the best epoch in validation is kept.

    The run is saved in OUT.checkpoint as it goes. A rerun of a command that was cut off goes on from there, with or
    without --resume; --force starts over.

    With --fold all the rows are cross-validated over the folds of fer split --folds: OUT holds the predictions of each
    row by a network trained without its fold, for fer eval. The last epoch is kept, or with --holdout the best on
    pictures held out of the training rows; the fold that is left out never chooses. --fold 3 does one fold, and fer
    eval takes the stores of all of them.

    torchrun --nproc-per-node N -m fercli train shares each batch among N processes, with a GPU each if there are any.

    \b
      fer train --recipe njoku faces.h5 -o model.h5
      fer train --model njoku --epochs 20 --holdout 0.1 faces.h5 -o model.h5
      fer train --model njoku --init model.h5 --freeze 2 --holdout 0.1 jaffe.h5 -o jaffe-model.h5
      fer train --model alizadeh --layers 'conv32x3-relu-pool fc64-relu' faces.h5 -o model.h5
      fer train --fold all --holdout 0.1 folds.h5 -o predictions.h5
      fer train --recipe zhao-separable --heads gender rafdb.h5 -o model.h5
      fer train --search dropout=0.1,0.2,0.3 faces.h5 -o model.h5
      fer ingest fer2013.csv | fer train --recipe njoku --resume -o model.h5
    """
    checkpoint = Checkpoint.beside(arguments["output"], resume, arguments["force"])
    loaded = load(recipe) if recipe else None
    spec = options.given(TrainSpec, arguments, loaded.settings("train") if loaded else None)
    work = crossval if spec.fold is not None else search if spec.search else train
    tidies = checkpoint and ranks.writes() and not arguments["dry_run"]
    if tidies:
        checkpoint.remove_orphans()
    writes = "model" if spec.fold is None else "predictions"
    run_stage(train.stage(checkpoint, partial(_run, work.run, loaded), writes), spec, arguments)
    if tidies:
        checkpoint.remove()


def _run(
    work: Callable[..., None], recipe: Recipe | None, src: Reader, dst: Writer, spec: TrainSpec, log: Log,
    checkpoint: Checkpoint | None,
) -> None:  # fmt: skip
    """Carries `work` out; notes a store without what the recipe's own stages would make: gradient channels, copies."""
    made = recipe.spec("gradients") if recipe and "gradients" in recipe.pipeline else None
    if made and made.operator != "none" and src.channels != GRADIENTS:
        log.note(
            f"recipe {recipe.name} trains on gradient channels, and {src.name} has only {' '.join(src.channels)}, with "
            f"which training goes on: {made.line} makes the channels"
        )
    augments = recipe is not None and "augment" in recipe.pipeline
    if augments and "augment" not in src.documents and "copy" not in src.columns:
        log.note(
            f"recipe {recipe.name} augments the training rows, and {src.name} is not augmented, so they are learnt as "
            f"they are: run fer augment first, with what fer recipe show {recipe.name} has for it"
        )
    work(src, dst, spec, log, checkpoint=checkpoint)
