"""`fer split`."""

from typing import Any

import click

from ..stages.runner import Stage
from ..stages.split import SplitSpec, run
from . import options
from .stage import run_stage


@click.command("split")
@options.stage(SplitSpec)
def command(**arguments: Any) -> None:
    """Assign rows to train, val and test, or to cross-validation folds.

    \b
      fer split --train 0.8 --val 0.1 --test 0.1 faces.h5 -o split.h5
      fer split --folds 10 --by subject faces.h5 -o folds.h5
    """
    run_stage(Stage("split", run), options.given(SplitSpec, arguments), arguments)
