"""`fer eval`: what predictions are worth, and the gate that a build has to pass."""

import json
from typing import Any

import click

from ..errors import SOME_ROWS_FAILED, UsageError
from ..learn import ranks
from ..models.shipped import model_path
from ..stages import gate, predict, report, runner
from ..stages.answers import check_distinct, labels_of, rows_of
from ..stages.evaluate import EvalSpec, Evaluation
from ..stages.further import evaluate_with_heads
from ..store import open_store, temporary_folder
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
    failures: list[tuple[str, str]] = []
    runner.check_files((*(inputs or ("-",)), model, *spec.files))
    if not model and not ranks.writes():
        return  # the figures are the work of one
    evaluated = _labelled_first(model, inputs, spec, failures) if model else _evaluate(inputs, spec)
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
    if failures:
        click.get_current_context().exit(SOME_ROWS_FAILED)


def _evaluate(inputs: tuple[str, ...], spec: EvalSpec) -> tuple[Evaluation, Evaluation | None]:
    """The evaluation, and that of the baseline."""
    with open_store(inputs or ("-",), ("predictions", "samples")) as predictions:
        if predictions.kind == "samples":
            raise UsageError(f"{predictions.name} holds faces without predictions: add -m MODEL to label them first")
        evaluation = evaluate_with_heads(predictions, spec)
    return evaluation, gate.read_baseline(spec.baseline, evaluation.split)


def _labelled_first(
    model: str, inputs: tuple[str, ...], spec: EvalSpec, failures: list[tuple[str, str]]
) -> tuple[Evaluation, Evaluation | None] | None:
    """As `_evaluate`, of what `fer predict` makes of samples. A photo counts by its largest face; one that cannot be
    read counts as wrong, is told and added to `failures`. None in a process that helps the one that writes."""
    console = click.get_current_context().find_object(Console)
    log = runner.Log("skip", console)
    with temporary_folder() as folder, open_store(inputs or ("-",)) as data:
        model, path = model_path(model), f"{folder}/predictions.h5"
        chosen, split = rows_of(data, spec.split)  # this, and what the gates need, before the work and not after
        check_distinct(data, chosen)
        shown = labels_of(data, chosen)
        old = gate.read_baseline(spec.baseline, split)
        with open_store(model, "model") as loaded:
            gate.check_before(spec, old, data.name, split, loaded.classes, shown)
        settings = predict.PredictSpec(
            split=None if split == "all" else split,
            keep="largest",
            precision="float32",  # the same on any machine
            heads=predict.heads_told(model, data),
        )
        predict.store(data, model, path, settings, log)
        if not ranks.writes():
            return None
        failures += log.failures
        console.failures(log.failures)
        with open_store(path, "predictions") as predictions:
            predictions.name = data.name
            return evaluate_with_heads(predictions, spec), old
