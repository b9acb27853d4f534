"""`fer train --fold`: cross-validation, of which the out-of-fold predictions are kept and no model.

Each fold is left out in its turn: a network is trained on the rows of the other folds, with the copies that
augmentation made of them, and answers the rows of the fold that are no copies. So every answer is that of a network
which did not see the picture, and `fer eval` tells what they are worth together and fold by fold. The splits of a store
play no part, and its predictions carry none.
"""

from dataclasses import asdict

import numpy as np

from ..errors import UsageError
from ..store import Block, Reader, Writer, concatenate, open_store, take
from ..text import counted, percent
from .checkpoint import Checkpoint
from .predict import Predictor, PredictSpec
from .runner import Log
from .several import Several, several
from .train import TrainSpec, computed


def run(src: Reader, dst: Writer, spec: TrainSpec, log: Log, checkpoint: Checkpoint | None = None) -> None:
    """Writes the predictions of the rows of each fold that `spec.fold` names to `dst`, in the order of `src`.

    The columns are those of `fer predict` and `fold`. With a holdout the epoch of each training is chosen on a part of
    its training pictures; without one the last is taken, and never one by the fold that is left out. Folds that are
    done are kept beside the output: a run that was killed and goes on ends with the same bytes on a CPU.

    Raises DataError and UsageError as `train.run`, and for folds that are not there, or that leave nothing to learn.
    """
    from ..learn.rows import check_images, choose_fold

    check_images(src)
    folds = _chosen(src, spec.fold)
    # all, before the work begins
    parts = {fold: choose_fold(src, fold, spec.holdout, spec.seed, spec.heads) for fold in folds}
    if not spec.holdout:
        log.note("no pictures are held out to choose the epoch, so the last is kept: --holdout 0.1 holds some out")
    log.facts |= computed(spec)
    if spec.half:
        log.note("--half is for a model, and --fold keeps none")
    with several(src, spec, checkpoint, log) as trainings:
        answers = _finished(trainings)
        for fold, (rows, tested) in parts.items():
            if any((block["fold"] == fold).all() for block in answers):
                continue
            log.note(f"fold {fold}: {counted(len(rows.train), 'row')} to train on, {len(tested):,} left out")
            _tell_oddity(src, fold, tested, log)
            trainings.train(rows, spec, {"fold": fold})
            answers.append(_answer(trainings, fold, tested, spec))
            trainings.keep(lambda writer: _write(writer, src, spec, answers))
            log.note(f"fold {fold}: accuracy {_accuracy(answers[-1:])}")
        _write(dst, src, spec, answers)
        if len(answers) > 1:
            log.note(f"all {len(answers)} folds: accuracy {_accuracy(answers)}")


def _chosen(src: Reader, fold: str) -> list[int]:
    """The folds that are left out in their turn: the one asked for, or all."""
    from ..learn.rows import read_folds

    last = int(read_folds(src).max())
    if fold == "all":
        return list(range(last + 1))
    if int(fold) > last:
        raise UsageError(f"{src.name} has no fold {int(fold)}: it has folds 0 to {last}")
    return [int(fold)]


def _tell_oddity(src: Reader, fold: int, tested: np.ndarray, log: Log) -> None:
    """Notes a fold that any network does well on which always answers the same."""
    label = src.column("label")[tested]
    shown = np.unique(label[label >= 0])
    if len(shown) == 1:
        log.note(f"fold {fold} shows {src.classes[shown[0]]} alone: its own accuracy tells little")


def _finished(trainings: Several) -> list[Block]:
    """The predictions of the folds that are done, a block a fold."""
    with trainings.kept() as saved:
        if saved is None:
            return []
        whole = concatenate(saved.blocks())
    done = np.unique(whole["fold"])
    trainings.log.note(f"folds done already: {', '.join(map(str, done))}")
    return [take(whole, whole["fold"] == fold) for fold in done]


def _answer(trainings: Several, fold: int, tested: np.ndarray, spec: TrainSpec) -> Block:
    """Predictions for the rows `tested` (M,) by the model that was just trained without them."""
    from ..learn.device import choose_device
    from ..learn.modelstore import load

    src = trainings.src
    with open_store(trainings.current.path, "model") as saved:
        model = load(saved, choose_device(spec.device), heads=spec.heads)
    predictor = Predictor(model, PredictSpec(device=spec.device, heads=spec.heads))
    block = concatenate(predictor.over_crops(src, tested, src.column("label"), Log()))
    block.pop("split", None)
    return {**block, "fold": np.full(len(tested), fold, np.int16)}


def _write(dst: Writer, src: Reader, spec: TrainSpec, answers: list[Block]) -> None:
    from ..learn.heads import read_heads

    whole = concatenate(answers)
    dst.start("predictions", src.classes)
    if spec.heads:
        dst.document("heads", [asdict(head) for head in read_heads(src, spec.heads)[0]])
    ordered = {name: whole[name] for name in sorted(whole)}  # those that were read back come in another order
    dst.append(take(ordered, np.argsort(whole["parent"])))


def _accuracy(answers: list[Block]) -> str:
    """Of the labelled rows."""
    label, predicted = (np.concatenate([block[name] for block in answers]) for name in ("label", "predicted"))
    right = (label == predicted)[label >= 0]
    return f"{percent(right.mean())} of {counted(len(right), 'row')}"
