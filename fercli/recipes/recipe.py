"""Recipes: a table of settings a stage, from this folder by name or from a file of the user's own."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..spec import Spec, is_multiple, nearest, value_type

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The stages that a recipe may set, in the order of the pipeline: copies are made of training rows alone, so of split
#: ones (or of all, which each stay in their fold), and before the gradients, which a transform of the pictures would
#: not fit.
STAGES = ("detect", "split", "augment", "gradients", "train")
#: The tables beside those of stages.
OTHERS = ("paper", "models")
#: What the table [paper] may say: where the system was published, and in `reported` the figures printed there.
PAPER = ("title", "authors", "year", "data", "note", "reported")
#: What a table [models.NAME] may say.
MODEL = ("recipe", "set")


@dataclass(frozen=True)
class Before:
    """A recipe, by NAME or FILE, that is carried out before another which takes its model, with `changes` to it."""

    recipe: str
    changes: tuple[str, ...] = ()

    def load(self) -> "Recipe":
        """The recipe itself. Raises UsageError as `load` and `Recipe.changed`, and where it needs others before it."""
        made = load(self.recipe).changed(self.changes)
        if made.models:
            raise UsageError(f"recipe {self.recipe} has [models] of its own, and cannot be one of another's")
        return made


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: what was published, the settings of each stage that it has a table for, and the user's own.

    `changes` has, stage by stage, settings that take the place of the recipe's; `models` the recipes that come before
    it, by the names of their folders: it takes the model of one as NAME/model.h5.
    """

    name: str
    paper: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, Before] = field(default_factory=dict)

    @property
    def pipeline(self) -> tuple[str, ...]:
        """The stages that have settings, in the order in which they run."""
        return tuple(stage for stage in STAGES if stage in self.stages or stage in self.changes)

    def settings(self, stage: str) -> dict[str, Any]:
        """The settings of a stage. Raises UsageError where the recipe has none for it."""
        if stage not in self.pipeline:
            known = ", ".join(self.stages)
            raise UsageError(f"recipe {self.name} says nothing about {stage}; it has settings for {known}")
        return {**self.stages.get(stage, {}), **self.changes.get(stage, {})}

    def spec(self, stage: str) -> Spec:
        """The options of a stage, defaults filled in. Raises UsageError as `settings`."""
        return _spec(stage).from_mapping(self.settings(stage), f"[{stage}]")

    def changed(self, assignments: Sequence[str]) -> "Recipe":
        """The recipe with settings replaced as in "train.epochs=3".

        Raises UsageError for what is unknown or out of range.
        """
        changes: dict[str, dict[str, Any]] = {}
        for assignment in assignments:
            stage, key, value = _assigned(assignment)
            told = changes.setdefault(stage, {})
            told[key] = (*told.get(key, ()), *value) if isinstance(value, tuple) else value
        made = replace(self, changes=changes)
        for stage in changes:
            made.spec(stage)
        return made


def names() -> tuple[str, ...]:
    """The recipes that come with the package, sorted."""
    found = (file.name for file in files(__package__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def load(name: str) -> Recipe:
    """The recipe of a NAME, or of a FILE where that ends in .toml, with every table and setting checked.

    Raises UsageError that names what is unknown or out of range, and the nearest thing that is known.
    """
    tables = _parse(name)
    for table, content in tables.items():
        if table not in (*OTHERS, *STAGES):
            raise UsageError(f"recipe {name}: there is no stage [{table}]; {nearest(table, (*OTHERS, *STAGES))}")
        if not isinstance(content, dict):
            raise UsageError(f"recipe {name}: {table} is no table of settings: write [{table}] above them")
    paper, models = tables.pop("paper", {}), tables.pop("models", {})
    for key in paper:
        if key not in PAPER:
            raise UsageError(f"recipe {name}: [paper] has no entry {key!r}; {nearest(key, PAPER)}")
    for stage, settings in tables.items():
        _check(name, stage, settings)
    return Recipe(name, paper, tables, models={one: _before(name, one, told) for one, told in models.items()})


def _before(name: str, model: str, told: Any) -> Before:
    where = f"recipe {name}: [models.{model}]"
    if not isinstance(told, dict) or not isinstance(told.get("recipe"), str):
        raise UsageError(f'{where} names no recipe: write recipe = "NAME" below it')
    for key in told:
        if key not in MODEL:
            raise UsageError(f"{where} has no entry {key!r}; {nearest(key, MODEL)}")
    changes = told.get("set", [])
    if not isinstance(changes, list) or not all(isinstance(one, str) for one in changes):
        raise UsageError(f'{where}: set is no list of settings: write set = ["train.epochs=3"]')
    return Before(told["recipe"], tuple(changes))


def _parse(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text(name))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {name} is not TOML: {error}") from error


def text(name: str) -> str:
    """The TOML of a recipe, by NAME or from a FILE, comments and all. Raises UsageError where there is none."""
    if not name.endswith(".toml"):
        if name not in names():
            raise UsageError(
                f"there is no recipe {name!r} (a file of your own ends in .toml); {nearest(name, names())}"
            )
        return files(__package__).joinpath(f"{name}.toml").read_text("utf-8")
    try:
        return Path(name).read_text("utf-8")
    except OSError as error:
        raise UsageError(f"recipe {name} cannot be read: {error.strerror}") from error


def _check(name: str, stage: str, settings: Mapping[str, Any]) -> None:
    try:
        _spec(stage).from_mapping(settings, f"[{stage}]")
    except UsageError as error:
        raise UsageError(f"recipe {name}: {error}") from None


def _spec(stage: str) -> type[Spec]:
    """The options of a stage. Only the stages that a recipe names are imported."""
    module = importlib.import_module(f"..stages.{stage}", __package__)
    return getattr(module, f"{stage.title()}Spec")


def _assigned(assignment: str) -> tuple[str, str, Any]:
    """Stage, setting and value of "train.epochs=3"."""
    where, equals, written = assignment.partition("=")
    stage, dot, key = where.partition(".")
    if not (equals and dot and key):
        raise UsageError(f"--set {assignment} is no setting with its value: write for example --set train.epochs=3")
    if stage not in STAGES:
        raise UsageError(f"--set {assignment}: there is no stage {stage!r}; {nearest(stage, STAGES)}")
    fields = {one.name: one for one in _spec(stage).fields()}
    if key not in fields:
        raise UsageError(f"--set {assignment}: {stage} has no setting {key!r}; {nearest(key, list(fields))}")
    value = _value(value_type(fields[key]), written)
    return stage, key, (value,) if is_multiple(fields[key]) else value


def _value(kind: type, written: str) -> Any:
    """What was written as a value of its kind; what is none stays as it is, for the check of the settings to tell."""
    if kind is bool:
        return {"true": True, "false": False}.get(written, written)
    try:
        return kind(written)
    except ValueError:
        return written
