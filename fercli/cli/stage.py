"""Runs a stage for a command and tells how it went."""

from typing import Any

import click

from ..errors import SOME_ROWS_FAILED
from ..spec import Spec
from ..stages.runner import Log, Outcome, Stage, run_on_stores
from ..text import counted
from .console import Console


def run_stage(stage: Stage, spec: Spec, arguments: dict[str, Any]) -> None:
    """Runs a stage over the stores named on the command line, with what else `options.stage` parsed."""
    console = click.get_current_context().find_object(Console)
    log = Log(arguments["on_error"], console)
    outcome = run_on_stores(
        stage,
        arguments["inputs"] or ("-",),
        arguments["output"],
        spec,
        log,
        force=arguments["force"],
        dry_run=arguments["dry_run"],
    )
    tell(console, outcome)


def tell(console: Console, outcome: Outcome) -> None:
    """Prints the summary of a run and leaves with exit status 4 if rows failed."""
    where = "standard output" if outcome.output == "-" else outcome.output
    if outcome.up_to_date:
        text = f"{where} is up to date"
    elif outcome.dry_run:
        text = f"{where} would be written"
    else:
        a_model = outcome.stage in ("train", "export") and not outcome.rows
        made = "the model" if a_model else counted(outcome.rows, "row")
        text = f"{made} to {where}"
        if outcome.failures:
            text += f", {len(outcome.failures):,} failed"
    console.summary(text, outcome.as_dict(), outcome.failures)
    if outcome.failures:
        click.get_current_context().exit(SOME_ROWS_FAILED)
