"""Several trainings in one run, over folds or over settings: a run that is cut off goes on where it was.

Beside the output OUT lie two files until it is done. OUT.checkpoint is the training under way, as that of a run with
one training; OUT.finished is a store of what came of those before it. Both tell which run they are of.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..learn import ranks
from ..store import Reader, Writer, create_store, open_store, temporary_folder
from .checkpoint import Checkpoint
from .runner import Log
from .train import TrainSpec, fit, identity

if TYPE_CHECKING:
    from ..learn.rows import Rows
    from ..learn.training import Training


@contextmanager
def several(src: Reader, spec: TrainSpec, checkpoint: Checkpoint | None, log: Log) -> Iterator["Several"]:
    """The trainings of one run. Its files lie in a folder for a while where the output is a stream."""
    ranks.check_alone(
        "training over folds or settings",
        "leave torchrun out, or start CUDA_VISIBLE_DEVICES=K fer train --fold K for each",
    )
    with temporary_folder() as folder:
        kept = Checkpoint(Path(folder, "run.checkpoint")) if checkpoint is None else checkpoint
        made = Several(src, spec, kept, log)
        yield made
        kept.finished = [made.current.path, made.finished]


class Several:
    """The trainings of one run on `src`, of which each is a `part`: plain values that tell it from the others."""

    def __init__(self, src: Reader, spec: TrainSpec, checkpoint: Checkpoint, log: Log) -> None:
        self.src, self.log, self.run = src, log, identity(src, spec)
        self.current = Checkpoint(checkpoint.path)
        _, self.finished = checkpoint.files
        if checkpoint.force:
            for path in checkpoint.files:
                path.unlink(missing_ok=True)
        elif checkpoint.resume and not any(path.exists() for path in checkpoint.files):
            log.note(f"there is no {self.current.path} to resume: starting at epoch 1")

    @contextmanager
    def kept(self) -> Iterator[Reader | None]:
        """What was kept of the parts that are done; None before one is. Raises UsageError for that of another run."""
        from ..learn.checkpoint import check_same_run

        if not self.finished.exists():
            yield None
            return
        with open_store(self.finished, ("predictions", "model")) as saved:
            check_same_run(saved, self.run)
            yield saved

    def train(self, rows: "Rows", spec: TrainSpec, part: Mapping[str, Any]) -> "Training":
        """Trains one part to its end, from where it was cut off, and leaves its model in `current`."""
        self._drop_other(part)
        run = {**self.run, "part": dict(part)}
        training = fit(self.src, rows, spec, run, self.log, Checkpoint(self.current.path, part=True))
        with create_store(self.current.path) as writer:
            training.save(writer, run)
        return training

    def keep(self, write: Callable[[Writer], None], document: Mapping[str, Any] | None = None) -> None:
        """Ends a part: `write` writes to `finished` what came of all that are done; `document` describes a model."""
        with create_store(self.finished) as writer:
            write(writer)
            writer.document("model", {**(document or {}), "run": self.run})
        self.current.path.unlink(missing_ok=True)

    def _drop_other(self, part: Mapping[str, Any]) -> None:
        """Removes the checkpoint of a part that is done already: the run ended before it could do so."""
        from ..learn.checkpoint import check_same_run

        if not self.current.path.exists():
            return
        with open_store(self.current.path, "model") as saved:
            check_same_run(saved, self.run)
            other = saved.documents["model"]["run"].get("part") != part
        if other:
            self.current.path.unlink()
