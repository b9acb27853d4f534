"""Labels photos, or the rows of a store, and writes a row of text for each face while they stream by."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..layouts import Source
from ..store import Reader, block_rows, replacing
from .predict import Predictor, PredictSpec, predictions
from .rows import text_of
from .runner import Log, Outcome


def write_rows(
    src: Reader | Sequence[Source], model: str, output: str, form: str, spec: PredictSpec, log: Log
) -> Outcome:
    """Writes rows as lines while they come; a file takes its place when it is complete."""
    outcome = Outcome("predict", output, failures=log.failures)
    with _destination(output) as file:
        predictor = Predictor.load(model, spec)
        text = text_of(form, predictor.classes)
        for block in predictions(src, predictor, log):
            file.write(text(block))
            file.flush()
            outcome.rows += block_rows(block)
    return outcome


@contextmanager
def _destination(output: str) -> Iterator[BinaryIO]:
    if output == "-":
        yield sys.stdout.buffer
        return
    with replacing(Path(output)) as part, open(part, "wb") as file:
        yield file
