"""Recipes: a table of settings a stage, from this folder by name or from a file of the user's own."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..spec import Spec, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The stages that a recipe may set, in the order of the pipeline.
STAGES = ("detect", "gradients", "augment", "split", "train")
#: What the table [paper] may say: where the system was published, and in `reported` the figures printed there.
PAPER = ("title", "authors", "year", "data", "note", "reported")


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: what was published, and the settings of each stage that it has a table for."""

    name: str
    paper: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]

    def settings(self, stage: str) -> dict[str, Any]:
        """The settings of a stage. Raises UsageError where the recipe has none for it."""
        if stage not in self.stages:
            known = ", ".join(self.stages)
            raise UsageError(f"recipe {self.name} says nothing about {stage}; it has settings for {known}")
        return dict(self.stages[stage])


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
        if table != "paper" and table not in STAGES:
            raise UsageError(f"recipe {name}: there is no stage [{table}]; {nearest(table, ('paper', *STAGES))}")
        if not isinstance(content, dict):
            raise UsageError(f"recipe {name}: {table} is no table of settings: write [{table}] above them")
    paper = tables.pop("paper", {})
    for key in paper:
        if key not in PAPER:
            raise UsageError(f"recipe {name}: [paper] has no entry {key!r}; {nearest(key, PAPER)}")
    for stage, settings in tables.items():
        _check(name, stage, settings)
    return Recipe(name, paper, tables)


def _parse(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(name))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {name} is not TOML: {error}") from error


def _read(name: str) -> str:
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
