"""`fer gradients`."""

from typing import Any

import click

from ..stages.gradients import GradientsSpec, run
from ..stages.runner import Stage
from . import options
from .stage import run_stage


@click.command("gradients")
@options.stage(GradientsSpec)
def command(**arguments: Any) -> None:
    """Add gradient channels (gray, Gx, Gy) or HOG features to dense gray images.

    \b
      fer gradients faces.h5 -o gradients.h5
      fer gradients --hog faces.h5 -o hog.h5
    """
    run_stage(Stage("gradients", run), options.given(GradientsSpec, arguments), arguments)
