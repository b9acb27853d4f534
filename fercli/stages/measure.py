"""`eval`: predictions, or faces that a model labels first, in; what they are worth out, and what the baseline was."""

from collections.abc import Sequence

from ..errors import UsageError
from ..learn import ranks
from ..store import open_store, temporary_folder
from . import gate, predict
from .answers import check_distinct, labels_of, rows_of
from .evaluate import EvalSpec, Evaluation
from .further import evaluate_with_heads
from .runner import Log


def measure(
    inputs: Sequence[str], model: str | None, spec: EvalSpec, log: Log
) -> tuple[Evaluation, Evaluation | None] | None:
    """The evaluation of predictions stores, or with the store of a `model` of what that makes of samples; and that of
    the baseline, if there is one. None in a process that helps the one that writes.

    A photo counts by its largest face; one that cannot be read counts as wrong, and is told to `log`. Raises DataError
    and UsageError for what cannot be measured, or will not be judged by the gates, before any work.
    """
    if model:
        return _labelled_first(inputs, model, spec, log)
    return _evaluated(inputs, spec) if ranks.writes() else None


def _evaluated(inputs: Sequence[str], spec: EvalSpec) -> tuple[Evaluation, Evaluation | None]:
    with open_store(inputs, ("predictions", "samples")) as predictions:
        if predictions.kind == "samples":
            raise UsageError(f"{predictions.name} holds faces without predictions: add -m MODEL to label them first")
        evaluation = evaluate_with_heads(predictions, spec)
    return evaluation, gate.read_baseline(spec.baseline, evaluation.split)


def _labelled_first(
    inputs: Sequence[str], model: str, spec: EvalSpec, log: Log
) -> tuple[Evaluation, Evaluation | None] | None:
    with temporary_folder() as folder, open_store(inputs) as data:
        path = f"{folder}/predictions.h5"
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
        with open_store(path, "predictions") as predictions:
            predictions.name = data.name
            return evaluate_with_heads(predictions, spec), old
