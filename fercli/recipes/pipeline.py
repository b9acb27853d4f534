"""A recipe as the commands that carry it out, each from store to store in one folder."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import DataError, UsageError
from ..learn import published
from ..models.shipped import shipped
from ..spec import flag_of
from ..stages.split import SplitSpec
from ..store import SPLIT_CODES, open_store
from .recipe import Recipe

#: The splits that figures are told of.
REPORTED = ("val", "test")
LARGE = 4096  # px, a side that no network is too deep for


@dataclass(frozen=True)
class Step:
    """One command of the pipeline, `fer COMMAND WORDS...`."""

    command: str
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        """The step as a line of shell."""
        return shlex.join(("fer", self.command, *self.words))


@dataclass(frozen=True)
class Contents:
    """What a data set holds, as far as the steps depend on it.

    `shape` is height and width in px of its images where they all have one size; `splits` those of val and test that
    have labelled rows.
    """

    name: str
    shape: tuple[int, int] | None
    splits: tuple[str, ...]

    def faces(self, size: int) -> bool:
        """Whether the images are crops of faces: square ones, no larger than the `size` to which they would be cut."""
        return self.shape is not None and self.shape[0] == self.shape[1] <= size

    @property
    def size(self) -> str:
        """The size of the images in words."""
        return "of many sizes" if self.shape is None else f"of {self.shape[1]}x{self.shape[0]} pixels"


def ingest(recipe: Recipe, sources: Sequence[str], folder: str, force: bool = False, on_error: str = "fail") -> Step:
    """The step that reads the data into the first store, with the attributes that further heads are to learn."""
    attributes = flags({"attribute": recipe.settings("train").get("heads")})
    return Step("ingest", (*sources, *attributes, "-o", _store(folder, "ingest"), *_skip(on_error), *_force(force)))


def placed(recipe: Recipe, folder: str) -> Recipe:
    """The recipe with the models of those that come before it where they will be, below `folder`."""
    there = {f"{name}/model.h5": _model_of(name, folder) for name in recipe.models}
    settings, changes = recipe.settings("train"), dict(recipe.changes.get("train", {}))
    if settings.get("init") in there:
        changes["init"] = there[settings["init"]]
    if any(name in there for name in settings.get("teacher", ())):
        changes["teacher"] = tuple(there.get(name, name) for name in settings["teacher"])
    return replace(recipe, changes={**recipe.changes, "train": changes}) if changes else recipe


def before(
    recipe: Recipe,
    sources: Sequence[str],
    folder: str,
    resume: bool = False,
    force: bool = False,
    on_error: str = "fail",
) -> list[Step]:
    """The steps that train the models which the recipe, `placed`, takes: each carries out a recipe in a folder."""
    taken, made = _taken(recipe), []
    for name, one in recipe.models.items():
        if _model_of(name, folder) in taken:
            given = [word for flag, values in (("--data", sources), ("--set", one.changes)) for value in values
                     for word in (flag, value)]  # fmt: skip
            again = (*(["--resume"] if resume else []), *_skip(on_error), *_force(force))
            made.append(Step("recipe", ("run", one.recipe, *given, "-o", os.path.join(folder, name), *again)))
    return made


def check(recipe: Recipe, folder: str) -> None:
    """Raises UsageError for what can be told of the recipe, `placed`, before any work."""
    _check_folds(recipe)
    _check_training(recipe)
    _check_models(recipe, folder)


def get_ready(recipe: Recipe, folder: str, tell: Callable[[str], None], force: bool = False) -> None:
    """Brings the published weights with which the recipe, `placed`, or one before it begins.

    Without a network, or without the device that is to train, the user hears of it so before the work, not after. Where
    the training has ended already it may be up to date and need neither, unless `force` repeats it. Raises DataError as
    `published.fetch`, and UsageError as `choose_device`.
    """
    from ..learn.device import choose_device

    spec, ended = recipe.spec("train"), os.path.exists(_store(folder, "predictions" if _folds(recipe) else "model"))
    if force or not ended:
        choose_device(spec.device)
        if spec.init == published.WORD:
            published.fetch(published.of(spec.model), tell)
    for name, one in recipe.models.items():
        if _model_of(name, folder) in _taken(recipe):
            get_ready(one.load(), os.path.join(folder, name), tell, force)


def _check_training(recipe: Recipe) -> None:
    """Raises UsageError where no network can be made or trained as the recipe says, or the stages do not make what it
    reads.
    """
    from ..learn.heads import Head
    from ..stages.prepare import check_network

    spec = recipe.spec("train")
    made = recipe.spec("gradients") if "gradients" in recipe.pipeline else None
    channels = 3 if made and made.operator != "none" else 1
    heads = [Head(name, ("no", "yes")) for name in spec.heads]
    for name in check_network(spec, 2, channels, LARGE, heads)[1:]:
        if made is None or not getattr(made, name):
            operator = "" if made else "--set gradients.operator=none "
            raise UsageError(
                f"recipe {recipe.name} trains {spec.model}, which reads {name} features beside the images, and no "
                f"stage of it makes them: add {operator}--set gradients.{name}=true"
            )
    if made and "augment" in recipe.pipeline and recipe.spec("augment").online:
        raise UsageError(
            f"recipe {recipe.name} augments online, and gradients and features would not follow the pictures: "
            f"add --set augment.online=false"
        )


def _check_models(recipe: Recipe, folder: str) -> None:
    """Raises UsageError where the recipe, `placed`, begins with or learns from a model that is not there, that nobody
    published and that none before it trains, or where one of those will not do.
    """
    coming = {_model_of(name, folder): one for name, one in recipe.models.items()}
    for name in _taken(recipe):
        if name in coming:
            check(coming[name].load(), folder)
        elif name == published.WORD == recipe.settings("train").get("init"):
            published.of(recipe.spec("train").model)
        elif name not in shipped() and not os.path.exists(name):
            raise UsageError(
                f"recipe {recipe.name} takes {name}, which is not there: train it first, or name another "
                f"(fer recipe show {recipe.name} tells of it)"
            )


def _check_folds(recipe: Recipe) -> None:
    """Raises UsageError where the recipe trains over folds that it does not make, or searches over those it makes."""
    settings = recipe.settings("train")
    fold, search = settings.get("fold"), tuple(settings.get("search", ()))
    if fold and not _folds(recipe):
        raise UsageError(
            f"recipe {recipe.name} has train.fold {fold} and makes no folds: add --set split.folds=10, "
            f"or leave train.fold out"
        )
    if search and _folds(recipe):
        searched = shlex.join(flags({"search": search}))
        raise UsageError(
            f"recipe {recipe.name} has split.folds, over which no one model is kept, and train.search keeps one: leave "
            f"train.search out, type fer train --recipe {recipe.name} {searched} on the store that it trains on, "
            f"and give the recipe what won with --set"
        )


def look(sources: Sequence[str], folder: str) -> Contents:
    """What the store made by `ingest` holds. Raises DataError where nothing in it is labelled."""
    name = ", ".join(sources)
    with open_store(_store(folder, "ingest")) as src:
        label = src.column("label") if "label" in src.columns else None
        if label is None or not (label >= 0).any():
            raise DataError(f"{name} has no labels to learn from: give a labelled data set with --data")
        shape = src.shape("image")[:2] if "image" in src.columns else None
        codes = src.column("split")[label >= 0] if "split" in src.columns else ()
    return Contents(name, shape, tuple(split for split in REPORTED if SPLIT_CODES[split] in codes))


def detection(recipe: Recipe, data: Contents) -> str:
    """Whether faces are searched, and why, in a sentence; "" where the recipe does not speak of it."""
    if "detect" not in recipe.pipeline:
        return ""
    size = recipe.spec("detect").size
    if data.faces(size):
        return f"no fer detect, as {data.name} holds images {data.size}, which are faces already"
    return f"fer detect, as {data.name} holds images {data.size}, and faces are to have {size}x{size}"


def steps(
    recipe: Recipe, data: Contents, folder: str, resume: bool = False, force: bool = False, on_error: str = "fail"
) -> list[Step]:
    """What follows `ingest`, in order: over the folds of a recipe that makes some, `train` predicts and keeps no model.

    Raises UsageError where the recipe does not train, DataError where no rows are left to tell figures of.
    """
    settings, folds = recipe.settings("train"), _folds(recipe)
    splits = () if folds else _reported(recipe, data)
    store, made = _store(folder, "ingest"), []
    for stage in recipe.pipeline[:-1]:  # the last is train
        if stage == "detect" and data.faces(recipe.spec("detect").size):
            continue
        target = _store(folder, stage)
        skip = _skip(on_error) if stage == "detect" else ()  # behind it every row is a face
        made.append(Step(stage, (*flags(recipe.settings(stage)), store, "-o", target, *skip, *_force(force))))
        store = target
    model, predictions = _store(folder, "model"), _store(folder, "predictions")
    given = ("--recipe", recipe.name) if "train" in recipe.stages else ()
    own = (*flags(recipe.changes.get("train", {})), *(["--resume"] if resume else []))
    if folds:
        over = () if settings.get("fold") else ("--fold", "all")
        trained = Step("train", (*given, *over, *own, store, "-o", predictions, *_force(force)))
        return [*made, trained, Step("eval", (predictions,))]
    answers = flags({name: settings.get(name) for name in ("device", "heads")})
    return [
        *made,
        Step("train", (*given, *own, store, "-o", model, *_force(force))),
        Step("predict", ("-m", model, *answers, store, "-o", predictions, *_force(force))),
        *(Step("eval", (predictions, "--split", split)) for split in splits),
    ]


def flags(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings of a stage as words of its command line."""
    words: list[str] = []
    for name, value in settings.items():
        flag = flag_of(name)
        if isinstance(value, (list, tuple)):
            words += [word for one in value for word in (flag, str(one))]
        elif isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif value is not None:
            words += [flag, str(value)]
    return tuple(words)


def _taken(recipe: Recipe) -> list[str]:
    """The models that a recipe begins with or learns from."""
    settings = recipe.settings("train")
    return [name for name in (settings.get("init"), *settings.get("teacher", ())) if name is not None]


def _model_of(name: str, folder: str) -> str:
    """Where the model of a recipe that comes before another is: `name` is its folder's."""
    return _store(os.path.join(folder, name), "model")


def _folds(recipe: Recipe) -> bool:
    """Whether the recipe shares the rows out to folds."""
    return "split" in recipe.pipeline and recipe.spec("split").folds is not None


def _reported(recipe: Recipe, data: Contents) -> tuple[str, ...]:
    """The splits to tell figures of: those that the recipe makes, or those of the data."""
    splits = data.splits
    if "split" in recipe.pipeline:
        spec: SplitSpec = recipe.spec("split")
        shares = dict(zip(spec.names(), spec.shares(), strict=True))
        splits = tuple(split for split in REPORTED if shares.get(split))
    if not splits:
        raise DataError(
            f"{data.name} has no labelled val or test rows to tell figures of: "
            f"add --set split.train=0.8 --set split.test=0.2"
        )
    return splits


def _store(folder: str, name: str) -> str:
    return os.path.join(folder, f"{name}.h5")


def _skip(on_error: str) -> tuple[str, ...]:
    return ("--on-error", on_error) if on_error != "fail" else ()


def _force(force: bool) -> tuple[str, ...]:
    return ("--force",) if force else ()
