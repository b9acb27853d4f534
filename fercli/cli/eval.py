"""`fer eval`: what predictions are worth, and the gate that a build has to pass."""

import json
from typing import Any

import click

from ..errors import SOME_ROWS_FAILED, UsageError
from ..models.shipped import model_path
from ..stages import gate, report
from ..stages.evaluate import EvalSpec
from ..stages.measure import measure
from ..stages.runner import Log, check_files
from . import options
from .console import Console, drop_output


@click.command("eval")
@options.inputs
@options.model
@options.settings(EvalSpec)
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@options.console
def command(inputs: tuple[str, ...], model: str | None, as_json: bool, markdown: bool, **arguments: Any) -> None:
    """Measure predictions against the labels of the data; with --min or --baseline, fail when they are too bad.

    IN are predictions stores, or with -m stores of faces that the model labels first. Several count as one, and none of
    their rows may be in two. Predictions of fer train --fold are also measured fold by fold.

    \b
      fer eval predictions.h5 --split val
      fer eval -m model.h5 faces.h5 --split test --json > today.json
      fer eval predictions.h5 --split test --min accuracy=0.65 --baseline last-week.h5 --max-drop 0.5
    """
    if as_json and markdown:
        raise UsageError("--json and --markdown are two forms of one page: leave one of them out")
    spec = options.given(EvalSpec, arguments)
    inputs, model = inputs or ("-",), model_path(model) if model else None
    check_files((*inputs, model, *spec.files))
    console = click.get_current_context().find_object(Console)
    log = Log("skip", console)
    try:
        evaluated = measure(inputs, model, spec, log)
    finally:
        console.failures(log.failures)
    if evaluated is None:
        return
    evaluation, old = evaluated
    verdicts = gate.judge(evaluation, spec, old)
    text = report.as_markdown if markdown else report.as_text
    told = json.dumps(report.to_json(evaluation, verdicts), indent=2) if as_json else text(evaluation, verdicts)
    try:
        click.echo(told)
    except BrokenPipeError:  # whether or not anyone reads the figures, the gate is enforced
        drop_output()
    gate.enforce(verdicts)
    if log.failures:
        click.get_current_context().exit(SOME_ROWS_FAILED)
