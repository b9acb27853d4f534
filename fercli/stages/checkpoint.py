"""Where an unfinished run of `fer train` is kept beside its output, and how one that was cut off goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, UsageError
from ..learn import ranks
from ..store import open_store
from .runner import Log, recorded_key
from .trainspec import TrainSpec

if TYPE_CHECKING:
    from ..learn.training import Training


@dataclass
class Checkpoint:
    """Where an unfinished run is kept, and what to do with one that is there."""

    path: Path
    resume: bool = False
    force: bool = False
    finished: list[Path] = field(default_factory=list)  # files of a run that has come to its end
    keeps: int | None = None  # epoch whose model it holds
    part: bool = False  # of several trainings: its model may not outlast the run, or know another part's test rows

    @classmethod
    def beside(cls, output: str, resume: bool = False, force: bool = False) -> "Checkpoint | None":
        """The checkpoint of a store `output`; None for standard output, beside which nothing can be kept."""
        if output != "-":
            return cls(Path(f"{output}.checkpoint"), resume, force)
        if resume:
            raise UsageError("--resume needs the output that the run was writing: name it with -o")
        return None

    @property
    def files(self) -> tuple[Path, Path]:
        """What may lie beside the output: the training under way, and what came of those before it (see `several`)."""
        return self.path, self.path.with_suffix(".finished")

    def remove(self) -> None:
        """Removes the files of a finished run, once the output is in its place; any other stays."""
        for path in self.finished:
            path.unlink(missing_ok=True)

    def remove_orphans(self) -> None:
        """Removes the files of the run that made the output that is there: it was ended before it could do so."""
        for path in self.files:
            wanted = _key_asked_for(path)
            if wanted is not None and wanted == recorded_key(str(self.path.with_suffix(""))):
                path.unlink()


def _key_asked_for(path: Path) -> str | None:
    """The key of the output that the run of a checkpoint makes; None where there is none that tells it."""
    try:
        with open_store(path, ("model", "predictions")) as saved:
            return saved.documents["model"]["run"]["key"]
    except (DataError, KeyError, TypeError):
        return None


def go_on(
    training: "Training", run: Mapping[str, Any], checkpoint: Checkpoint | None, spec: TrainSpec, log: Log
) -> None:
    """Brings `training` to the state of the checkpoint, if there is one.

    A rerun of the same command goes on unasked: it ends in the same model as a run from the start, and loses nothing.
    """
    from ..learn.checkpoint import check_same_run

    if checkpoint is None or checkpoint.force:
        return
    if len(set(ranks.everyones(checkpoint.path.exists()))) > 1:
        raise DataError(f"{checkpoint.path} is not seen by all processes: put -o where all machines of the run read it")
    if not checkpoint.path.exists():
        if checkpoint.resume:
            log.note(f"there is no {checkpoint.path} to resume: starting at epoch 1")
        return
    with open_store(checkpoint.path, "model") as saved:
        done = len(saved.array("history/loss"))
        check_same_run(saved, run)
        if done > spec.epochs:
            raise UsageError(f"{checkpoint.path} is past epoch {done}: ask for --epochs {done} or more")
        training.resume(saved)
    checkpoint.keeps = training.kept.epoch
    log.note(f"resuming after epoch {done} of {spec.epochs}")
