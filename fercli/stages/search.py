"""`fer train --search`: greedy search over numeric settings, by validation.

Settings are searched one after the other, and the best value of one is fixed for the next. Each candidate is a whole
training with the same seed and the same validation rows; the model of the best of all is kept. One that diverges loses.
Under --select last, which chooses no epoch, the accuracy of the last epochs chooses the candidate.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from ..errors import DataError, UsageError
from ..spec import nearest, value_type
from ..store import Reader, Writer, open_store
from ..text import percent
from .checkpoint import Checkpoint
from .runner import Log
from .several import Several, several
from .train import TrainSpec, computed

if TYPE_CHECKING:
    from ..learn.rows import Rows

#: Numbers that decide how candidates are compared, not how good they are.
_NOT_SEARCHED = ("holdout", "seed", "threads")

Settings = dict[str, float | int | None]


@dataclass(frozen=True)
class Candidate:
    """A point of the search, by the names of all settings that are searched, and its best epoch in validation.

    Without an epoch its loss became no number.
    """

    settings: Settings
    epoch: int | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    def __str__(self) -> str:
        told = _told(self.settings)
        if self.epoch is None:
            return f"{told}: diverged"
        return (
            f"{told}: validation accuracy {percent(self.validation_accuracy)}, loss {self.validation_loss:.4f}, "
            f"epoch {self.epoch}"
        )


def run(src: Reader, dst: Writer, spec: TrainSpec, log: Log, checkpoint: Checkpoint | None = None) -> None:
    """Writes the model of the best candidate to `dst`, the candidates as `search` in its document "model".

    Candidates that are done are kept beside the output: a run that was killed and goes on ends with the same bytes on a
    CPU. Raises as `train.run`, UsageError for what cannot be searched, and DataError where no candidate has a loss.
    """
    from ..learn.heads import read_heads
    from ..learn.rows import check_images, choose_rows
    from .prepare import check_network

    axes = parse(spec.search)
    each = [replace(spec, search=(), **{name: value}) for name, values in axes.items() for value in values]
    size, (heads, _) = check_images(src), read_heads(src, spec.heads)
    for one in each:  # what does not go with the other settings or the network, before the work begins
        check_network(one, len(src.classes), len(src.channels), size, heads)
    rows = choose_rows(src, spec.holdout, spec.seed, spec.heads)
    with several(src, spec, checkpoint, log) as trainings:
        done = _finished(trainings)
        point = {name: getattr(spec, name) for name in axes}
        for name, values in axes.items():
            tried = [_tried(trainings, rows, spec, {**point, name: value}, done) for value in values]
            best = _best(tried, spec.select)
            point = point if best is None else tried[best].settings
        best = _best(done, spec.select)
        if best is None:
            raise DataError("the loss of every candidate became no number: search a lower lr, or set one with --lr")
        with trainings.kept() as saved:
            _copy(saved, dst, spec.half)
            dst.document("model", {key: value for key, value in saved.documents["model"].items() if key != "run"})
            log.facts |= {"metrics": saved.documents["model"]["metrics"], **computed(spec)}
    for number, one in enumerate(done):
        log.note(f"{one}{' (kept)' if number == best else ''}")


def parse(searches: Sequence[str]) -> dict[str, tuple[float | int, ...]]:
    """The values by setting of "dropout=0.1,0.2". Raises UsageError for what is unknown, no number or out of range."""
    known = {one.name: value_type(one) for one in fields(TrainSpec)}
    known = {name: kind for name, kind in known.items() if kind in (int, float) and name not in _NOT_SEARCHED}
    axes: dict[str, tuple[float | int, ...]] = {}
    for text in searches:
        name, equals, listed = text.partition("=")
        if not equals or len(listed.split(",")) < 2:
            raise UsageError(f"--search {text} names no values to choose from: write for example dropout=0.1,0.2,0.3")
        if name not in known:
            raise UsageError(f"--search {text}: fer train has no number {name!r} to search; {nearest(name, [*known])}")
        if name in axes:
            raise UsageError(f"--search {text}: {name} is searched already, so name all its values at once")
        axes[name] = tuple(_number(text, name, known[name], written) for written in listed.split(","))
        if len(set(axes[name])) < len(axes[name]):
            raise UsageError(f"--search {text} names a value twice")
    return axes


def _number(text: str, name: str, kind: type, written: str) -> float | int:
    try:
        return getattr(TrainSpec(**{name: kind(written)}), name)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise UsageError(f"--search {text}: {written!r} is no {what}") from None
    except UsageError as error:
        raise UsageError(f"--search {text}: {error}") from None


def _tried(trainings: Several, rows: "Rows", spec: TrainSpec, settings: Settings, done: list[Candidate]) -> Candidate:
    """The candidate of `settings`: out of those that are done, or trained to its end, kept and added to them."""
    from ..learn.loop import Diverged

    for one in done:
        if one.settings == settings:
            return one
    trainings.log.note(f"candidate {len(done) + 1}: {_told(settings)}")
    try:
        training = trainings.train(rows, replace(spec, search=(), **settings), settings)
        made = Candidate(settings, training.kept.epoch, *training.validated)
    except Diverged:
        made = Candidate(settings)
    done.append(made)
    _keep(trainings, done, spec.select)
    return made


def _finished(trainings: Several) -> list[Candidate]:
    """The candidates that are done, in order."""
    with trainings.kept() as saved:
        if saved is None:
            return []
        done = [Candidate(**one) for one in saved.documents["model"]["search"]]
    trainings.log.note(f"candidates done already: {len(done)}")
    return done


def _keep(trainings: Several, done: Sequence[Candidate], select: str) -> None:
    """Keeps the candidates so far, of which the last was just trained, and the model of the best."""
    table, best = {"search": [asdict(one) for one in done]}, _best(done, select)
    if best is None:
        trainings.keep(lambda writer: writer.start("model", trainings.src.classes, trainings.src.channels), table)
        return
    newest = best == len(done) - 1
    with open_store(trainings.current.path if newest else trainings.finished, "model") as saved:
        trainings.keep(lambda writer: _copy(saved, writer), saved.documents["model"] | table)


def _best(candidates: Sequence[Candidate], select: str) -> int | None:
    """Index of the best candidate; None where all diverged."""
    from ..learn.loop import best_epoch

    judged = "accuracy" if select == "last" else select
    whole = [number for number, one in enumerate(candidates) if one.epoch is not None]
    return whole[best_epoch([candidates[number] for number in whole], judged)] if whole else None


def _told(settings: Settings) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _copy(saved: Reader, dst: Writer, half: bool = False) -> None:
    """A model store without its documents "model" and "provenance", and without the state of a run.

    `half`: its weights in half precision.
    """
    from ..learn.modelstore import halved

    dst.start("model", saved.classes, saved.channels)
    if "augment" in saved.documents:
        dst.document("augment", saved.documents["augment"])
    for name in saved.array_names():
        if not name.startswith("state/"):
            values = saved.array(name)
            dst.array(name, halved(values, name) if half and name.startswith("weights/") else values)
