"""Networks by name. A family is one file of this folder; a function in it marked `@model` is a model of that name.

Such a function takes `(classes, channels, size)` and the model's own arguments, which have defaults, and returns an
`nn.Module` that maps images (N, channels, size, size), float32, to logits (N, classes).
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..spec import nearest

if TYPE_CHECKING:
    from torch import nn

_builders: dict[str, Callable[..., "nn.Module"]] = {}


def model(builder: Callable[..., "nn.Module"]) -> Callable[..., "nn.Module"]:
    """Make the function `builder` the model of its name, `_` written `-`."""
    _builders[_model_name(builder.__name__)] = builder
    return builder


def names() -> tuple[str, ...]:
    """The names of all models, sorted."""
    return tuple(sorted(_families()))


def build(name: str, classes: int = 7, channels: int = 1, size: int = 48, **arguments: Any) -> "nn.Module":
    """The network `name` for square images of `channels` and a side of `size` pixels, with fresh weights.

    The weights are drawn from torch's global generator. Raises UsageError for an unknown name or argument, and for a
    size that is too small for the network.
    """
    if name not in names():
        raise UsageError(f"there is no model {name!r}; {nearest(name, names())}")
    importlib.import_module(f"{__package__}.{_families()[name]}")
    builder = _builders[name]
    own = list(inspect.signature(builder).parameters)[3:]
    for argument in arguments:
        if argument not in own:
            known = nearest(argument, own) if own else "it has none"
            raise UsageError(f"model {name} has no setting {argument!r}; {known}")
    return builder(classes, channels, size, **arguments)


@cache
def _families() -> dict[str, str]:
    """Model name to module name. The sources are searched, not imported, as `--help` must not wait for torch."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        source = files(__package__).joinpath(f"{module.name}.py").read_text("utf-8")
        for function in re.findall(r"^@model\ndef (\w+)\(", source, re.MULTILINE):
            found[_model_name(function)] = module.name
    return found


def _model_name(function: str) -> str:
    return function.replace("_", "-")
