"""`train`: labelled images in, the model of the best epoch out. torch is imported when the stage runs, not before.

Several trainings in one run (`several`) stand on `fit` too: over folds in `crossval`, over settings in `search`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..learn import ranks
from ..spec import flag_of
from ..store import Changed, Reader, Writer, create_store
from ..text import counted, percent
from .checkpoint import Checkpoint, go_on
from .runner import Log, Stage, key
from .trainspec import TrainSpec

if TYPE_CHECKING:
    from ..learn.loop import Epoch
    from ..learn.rows import Rows
    from ..learn.training import Training

#: Share of the first weights in their average, from which on it is told that the run is short for it.
_FIRST = 0.05


def run(src: Reader, dst: Writer, spec: TrainSpec, log: Log, checkpoint: Checkpoint | None = None) -> None:
    """Trains on the labelled training rows of `src` and writes the model of the best epoch to `dst`.

    From time to time the run is kept in `checkpoint` (see `checkpoint.Pace`), whole or not at all. On a CPU a run that
    was killed and resumed ends with the bytes of one that was not. Raises DataError and UsageError for data that does
    not fit the settings, for a checkpoint that is there unasked or of another run, and for a loss that is no number.
    """
    from ..learn.rows import check_images, choose_rows

    check_images(src)
    rows = choose_rows(src, spec.holdout, spec.seed, spec.heads)
    training = fit(src, rows, spec, identity(src, spec), log, checkpoint)
    training.save(dst, half=spec.half)
    if checkpoint is not None:
        checkpoint.finished = [checkpoint.path]
    log.facts |= {"metrics": training.metrics, **computed(spec)}
    kept = training.kept
    accuracy = percent(training.validated[1])
    log.note(f"epoch {kept.epoch} of {len(training.history)} is kept: validation accuracy {accuracy}")
    for name, share, count in training.further_accuracies() if spec.heads else ():
        accuracy = (
            "none of its rows tells it" if share is None else f"accuracy {percent(share)} of {counted(count, 'row')}"
        )
        log.note(f"the head {name} in validation: {accuracy}")


def stage(checkpoint: Checkpoint | None, work: Callable[..., None] = run, writes: str = "model") -> Stage:
    """The stage as the runner takes it: the weights that `--init` names are one of its inputs.

    `work` is this module's `run`, or that of `crossval`, which `writes` predictions, or of `search`.
    """
    return Stage("train", partial(work, checkpoint=checkpoint), writes=writes, named=_named)


def _named(spec: TrainSpec) -> list[str]:
    """Hex digests of the weights that `--init` and `--teacher` name, in this order."""
    names = [name for name in (spec.init, *spec.teacher) if name]
    if not names:  # torch need not be loaded for them
        return []
    from ..learn.weights import digest

    return [digest(name, spec.model) for name in names]


def fit(
    src: Reader,
    rows: "Rows",
    spec: TrainSpec,
    run: Mapping[str, Any],
    log: Log,
    checkpoint: Checkpoint | None,
) -> "Training":
    """Trains on `rows` to the end, and calibrates where that is asked for.

    `run` (see `identity`) is what a checkpoint that it goes on from has to be of.
    """
    import torch

    from ..learn.device import choose_device, device_errors
    from ..learn.rows import check_images
    from .prepare import prepare

    size, device = check_images(src), choose_device(spec.device)
    if spec.threads:
        torch.set_num_threads(spec.threads)
    torch.backends.cudnn.benchmark = True  # batches have one size or two, so looking for a GPU's fastest kernels pays
    with _explained(src, spec, checkpoint), device_errors(spec.batch):
        training = prepare(src, rows, spec, size, device, log)
        if not rows.choose:
            training.select = "last"
        _check_steps(training, spec)
        _tell_oddities(training, rows, spec, log)
        go_on(training, run, checkpoint, spec, log)
        if spec.freeze:
            log.note(training.compute_frozen())
        _train(training, src, run, checkpoint, spec, log)
        _finish(training, spec, log)
        if ranks.writes():
            src.check_unchanged()
    return training


@contextmanager
def _explained(src: Reader, spec: TrainSpec, checkpoint: Checkpoint | None) -> Iterator[None]:
    """Errors that end a training tell what is kept of it, and what to type."""
    from ..learn.device import MemoryFull
    from ..learn.loop import Diverged

    try:
        yield
    except (Diverged, MemoryFull, Changed) as error:
        if checkpoint is None or checkpoint.keeps is None:
            raise
        text = str(error)
        if isinstance(error, Changed):
            text = f"{src.name} changed while it was trained on: add --force to start over with what it is now"
        if not checkpoint.part:
            text += (
                f"; {checkpoint.path} keeps the model of epoch {checkpoint.keeps}: to begin with that, add --init "
                f"{checkpoint.path} and name another -o"
            )
        raise type(error)(text) from error
    except ValueError as error:
        if "more than 1 value per channel" in str(error):  # of torch: a step of one row, whose maps are of one pixel
            raise _one_row(spec) from error
        raise


def _finish(training: "Training", spec: TrainSpec, log: Log) -> None:
    """What is made of the weights when they are trained: their normalisations anew, and the calibration."""
    if spec.precise_bn:
        log.stands("batch normalisations")
        settled = training.settle_norms()
        nothing = f"--precise-bn changes nothing: no batch normalisation of {spec.model} is trained"
        log.note(f"batch normalisations estimated anew: {_judged(spec, *settled)}" if settled else nothing)
    if spec.calibrate:
        _calibrate(training, log)
        if spec.fold is None and ranks.writes():  # folds keep no model
            log.note(training.try_int8())


def _check_steps(training: "Training", spec: TrainSpec) -> None:
    """Raises UsageError where a step has too few rows for the processes, or one for a mean over rows."""
    from torch import nn

    smallest = min(training.batches.sizes)
    ranks.check_share(smallest)
    if smallest == 1 and any(isinstance(layer, nn.BatchNorm1d) for layer in training.network.modules()):
        raise _one_row(spec)


def _one_row(spec: TrainSpec) -> UsageError:
    return UsageError(
        f"--batch {spec.batch} leaves a step of one row, and {spec.model} normalises over the rows of a step: "
        f"type --batch 3 or more"
    )


def _calibrate(training: "Training", log: Log) -> None:
    from ..learn.calibrate import HIGHEST, LOWEST

    temperature = training.calibrate()
    log.note(f"the temperature that makes probabilities come true in validation is {temperature:.3f}")
    if not 1.01 * LOWEST < temperature < 0.99 * HIGHEST:
        log.note("no other was looked at beyond it: the validation rows are too few, or too alike, to calibrate by")


def computed(spec: TrainSpec) -> dict[str, str]:
    """The device and the arithmetic that the settings come to on this machine."""
    from ..learn.device import choose_device, choose_precision, precision_name

    device = choose_device(spec.device)
    return {"device": device.type, "precision": precision_name(choose_precision(spec.precision, device))}


def identity(src: Reader, spec: TrainSpec) -> dict[str, Any]:
    """What makes a run the same one: it may be told to go on for longer, unless the rate knows the end, and what is
    made of its model at the end may change.

    Of several trainings in one run those that are done have come to their end, so they all know it. The key is that of
    the output, which depends on all the settings.
    """
    settings = {
        name: (list(value) or None) if isinstance(value, tuple) else value for name, value in spec.as_dict().items()
    }
    settings["precision"] = computed(spec)["precision"]
    del settings["compile"], settings["half"], settings["device"]
    if spec.fold is None and not spec.search:
        del settings["patience"], settings["calibrate"], settings["precise_bn"]
        if spec.schedule == "constant":
            del settings["epochs"]
    named = _named(spec)
    known: dict[str, Any] = {"init": named[0]} if spec.init else {}
    if spec.teacher:
        known["teachers"] = named[-len(spec.teacher) :]
    return {"settings": settings, "data": src.digest, "key": key("train", spec, [*src.digests, *named]), **known}


def _tell_oddities(training: "Training", rows: "Rows", spec: TrainSpec, log: Log) -> None:
    """Notes on data that can be trained on and yet may not be what was meant."""
    from ..learn.device import multiplies_bfloat16
    from ..learn.training import missing_classes

    batches = training.batches
    if spec.freeze and not spec.init:
        log.note("--freeze without --init keeps convolutions that were never trained")
    for name in ("teacher_weight", "temperature"):
        if not spec.teacher and getattr(spec, name) != getattr(TrainSpec, name):
            log.note(f"{flag_of(name)} without --teacher changes nothing")
    if spec.optimizer in ("sgd", "nesterov") and spec.beta2 != TrainSpec.beta2:
        log.note(f"--beta2 changes nothing: --optimizer {spec.optimizer} has none")
    if spec.precision == "bfloat16" and not multiplies_bfloat16(batches.device):
        log.note("--precision bfloat16 is emulated here, mostly far slower than float32: type --precision auto")
    if rows.unlabelled:
        log.note(f"left out: {counted(rows.unlabelled, 'row')} without a label")
    if batches.batch > len(batches.labels):
        log.note(f"--batch {batches.batch} is more than the {len(batches.labels)} training rows: a step takes them all")
    steps = spec.epochs * len(batches)
    if spec.ema and spec.ema**steps > _FIRST:
        share = f"{100 * spec.ema**steps:.0f} %"
        log.note(f"--ema {spec.ema:g} leaves {share} of the first weights in the average of {steps:,} steps: lower it")
    if spec.warmup > spec.epochs:
        log.note(f"--warmup {spec.warmup:g} is longer than the {spec.epochs} epochs: the rate never reaches --lr")
    if spec.warmup and not round(spec.warmup * len(batches)):
        log.note(f"--warmup {spec.warmup:g} is less than half a step: the rate begins at --lr")
    missing = missing_classes(batches.labels, training.classes)
    if missing:
        log.note(f"no training row shows {', '.join(missing)}: the model will not answer so")


def _train(
    training: "Training", src: Reader, run: Mapping[str, Any], checkpoint: Checkpoint | None, spec: TrainSpec, log: Log
) -> None:
    """Trains until the last epoch or until patience ends, with a line an epoch and checkpoints at their pace.

    Raises Changed within an epoch of a change of `src`.
    """
    from ..learn.checkpoint import Pace
    from ..learn.device import peak_memory
    from ..learn.schedule import learning_rate
    from ..learn.step import capturable, uncapturable

    steps, rows = len(training.batches), len(training.batches.labels)
    total, warmup = spec.epochs * steps, round(spec.warmup * steps)
    rate = partial(learning_rate, steps=total, peak=spec.lr, schedule=spec.schedule, warmup=warmup)
    last = 0 if _out_of_patience(training, spec) else spec.epochs
    log.total(max(0, last - len(training.history)) * rows)
    graphs, pace = capturable(training.batches, spec.compile), Pace()
    if spec.compile == "auto" and training.batches.device.type == "cuda" and not graphs:
        reason = uncapturable(training.batches)
        log.note(f"steps are not repeated as a CUDA graph, so small batches are slow: {reason}")

    def watch(epoch: int, loss: float) -> None:
        log.stands(f"epoch {epoch}/{spec.epochs}: loss {loss:.4f}")

    for epoch in training.epochs(last, rate, graphs, log.advance, watch):
        best = training.kept is epoch and training.select != "last"
        memory = peak_memory(training.batches.device) / 1e6
        if ranks.writes():
            src.check_unchanged()
        log.note(f"{_line(epoch, spec, rows, best)}, {memory:,.0f} MB")
        if checkpoint is not None and ranks.writes() and pace.due:
            with pace.keeping(), create_store(checkpoint.path) as writer:
                training.save(writer, run)
            checkpoint.keeps = training.kept.epoch
        if _out_of_patience(training, spec):
            break


def _out_of_patience(training: "Training", spec: TrainSpec) -> bool:
    if spec.patience is None or not training.history:
        return False
    return len(training.history) - training.kept.epoch >= spec.patience


def _line(epoch: "Epoch", spec: TrainSpec, rows: int, best: bool) -> str:
    """What is told of an epoch."""
    return (
        f"epoch {epoch.epoch}/{spec.epochs}: loss {epoch.loss:.4f}, accuracy {percent(epoch.accuracy)}; "
        f"{_judged(spec, epoch.validation_loss, epoch.validation_accuracy)}"
        f"{' (best)' if best else ''}; {rows / epoch.seconds:,.0f} images/s"
    )


def _judged(spec: TrainSpec, loss: float, accuracy: float) -> str:
    """Loss and accuracy of validation, for which a fold that is left out stands where nothing is held out."""
    where = "validation" if spec.fold is None or spec.holdout else "the fold's"
    return f"{where} loss {loss:.4f}, accuracy {percent(accuracy)}"
