"""Stage options, declared once: a field of a `Spec` is its flag, recipe key, default, check, help and record."""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from .errors import UsageError

S = TypeVar("S", bound="Spec")


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    low: float | None = None,
    high: float | None = None,
    metavar: str | None = None,
) -> Any:
    """A field of a Spec: its default, one line of help, and the values it takes (`choices`, or `low` to `high`)."""
    facts = {"help": help, "choices": tuple(choices), "low": low, "high": high, "metavar": metavar}
    return dataclasses.field(default=default, metadata=facts)


def flag_of(name: str) -> str:
    """The command-line flag of a field: `batch_size` is `--batch-size`."""
    return "--" + name.replace("_", "-")


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint that names the known word nearest to `word`, or lists the known ones."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def value_type(field: dataclasses.Field) -> type:
    """The scalar type of a field: `int` for `int | None` and for `tuple[int, ...]`."""
    kind = field.type
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is tuple:
        kind = typing.get_args(kind)[0]
    return kind


def is_optional(field: dataclasses.Field) -> bool:
    """Whether the field may be None."""
    return type(None) in typing.get_args(field.type)


def is_multiple(field: dataclasses.Field) -> bool:
    """Whether the flag may be repeated: the field is a tuple."""
    return typing.get_origin(field.type) is tuple


class Spec:
    """Base of the stages' frozen option dataclasses. Checks every value when it is made."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))

    @classmethod
    def fields(cls) -> tuple[dataclasses.Field, ...]:
        return dataclasses.fields(cls)

    @classmethod
    def from_mapping(cls: type[S], settings: Mapping[str, Any], where: str) -> S:
        """A Spec from recipe keys; `where` names the recipe and table in the error of an unknown key."""
        known = [field.name for field in cls.fields()]
        for key in settings:
            if key not in known:
                raise UsageError(f"{where} has no setting {key!r}; {nearest(key, known)}")
        return cls(**settings)

    @property
    def files(self) -> list[str]:
        """The values of settings that may name a file, by their metavars."""
        given = []
        for field in self.fields():
            value = getattr(self, field.name)
            if value is not None and re.search(r"FILE|\.h5", field.metadata["metavar"] or ""):
                given += value if is_multiple(field) else [value]
        return given

    def as_dict(self) -> dict[str, Any]:
        """Plain values for provenance and keys."""
        return dataclasses.asdict(self)


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """The value in the type of its field; UsageError unless the field takes it."""
    if is_multiple(field):
        if not isinstance(value, (tuple, list)):
            raise UsageError(f"{flag_of(field.name)} is {value!r}, but it takes a list")
        return tuple(_checked_single(field, single) for single in value)
    if value is None and is_optional(field):
        return None
    return _checked_single(field, value)


def _checked_single(field: dataclasses.Field, value: Any) -> Any:
    facts, flag, kind = field.metadata, flag_of(field.name), value_type(field)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)  # so that 1 and 1.0 are one setting, with one cache key
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{flag} is {value!r}, but it takes {_article(kind)}")
    if value == "" and field.default != "":
        raise UsageError(f"{flag} is empty: give it a value, or leave it out")
    if facts["choices"] and value not in facts["choices"]:
        raise UsageError(f"{flag} is {value!r}; {nearest(str(value), facts['choices'])}")
    low, high = facts["low"], facts["high"]
    below, above = low is not None and not value >= low, high is not None and not value <= high
    if below or above:  # written so that NaN, which compares false, is refused
        raise UsageError(f"{flag} is {value}, but it takes {_range(low, high)}")
    if kind is float and not math.isfinite(value):
        raise UsageError(f"{flag} is {value}, but it takes a finite number")
    return value


def _article(kind: type) -> str:
    return {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}[kind]


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
