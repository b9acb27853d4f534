"""`fer augment`."""

from typing import Any

import click

from ..stages.augment import AugmentSpec, run
from ..stages.runner import Stage
from . import options
from .stage import run_stage


@click.command("augment")
@options.stage(AugmentSpec)
def command(**arguments: Any) -> None:
    """Add transformed copies of the training rows, or of all where a store has folds or no splits. The originals stay.

    A copy keeps the split or fold of its original, and is only ever trained on: neither the epoch nor a fold is judged
    by copies.

    \b
      fer augment --rotation 15 --horizontal-flip faces.h5 -o more.h5
      fer augment --online --rotation 15 faces.h5 | fer train -o model.h5
    """
    run_stage(Stage("augment", run), options.given(AugmentSpec, arguments), arguments)
