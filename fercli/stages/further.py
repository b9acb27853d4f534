"""What the answers of further heads are worth, against the attributes that the rows tell."""

from collections.abc import Iterator
from dataclasses import replace

from ..errors import DataError
from ..store import Reader
from ..store.schema import ATTRIBUTE_PREFIX, HEAD_PREFIX, HEAD_PROBABILITY_PREFIX
from .answers import Answers, rows_of
from .evaluate import EvalSpec, Evaluation, evaluate, evaluate_answers


def evaluate_with_heads(predictions: Reader, spec: EvalSpec) -> Evaluation:
    """As `evaluate`, with the further heads for which any of the rows tells what is true."""
    evaluation = evaluate(predictions, spec)
    return replace(evaluation, heads={name: evaluate_answers(one) for name, one in _answers(predictions, spec.split)})


def _answers(predictions: Reader, split: str | None) -> Iterator[tuple[str, Answers]]:
    """Name and answers of each such head."""
    chosen, split = rows_of(predictions, split)
    for name, classes in _heads(predictions):
        if ATTRIBUTE_PREFIX + name not in predictions.columns:
            continue
        prefixes = {"label": ATTRIBUTE_PREFIX, "predicted": HEAD_PREFIX, "probability": HEAD_PROBABILITY_PREFIX}
        columns = {part: predictions.column(prefix + name)[chosen] for part, prefix in prefixes.items()}
        if columns["probability"].shape[1] != len(classes):
            raise DataError(f"{predictions.name} is damaged: its head {name} has probabilities of other classes")
        columns |= {part: predictions.column(part)[chosen] for part in ("seen", "fold") if part in predictions.columns}
        if (columns["label"] >= 0).any():
            yield name, Answers(f"{predictions.name}, perceived {name}", split, classes, **columns)


def _heads(predictions: Reader) -> list[tuple[str, tuple[str, ...]]]:
    """Names and classes of the heads in a store."""
    found = predictions.documents.get("heads", [])
    try:
        return [(str(head["name"]), tuple(map(str, head["classes"]))) for head in found]
    except (TypeError, KeyError):
        raise DataError(f"{predictions.name} is damaged: its heads are no list of names and classes") from None
