"""Networks by name. A family is one file of this folder; a function in it marked `@model` is a model of that name.

Such a function takes `(classes, channels, size)` and the model's own arguments, which have defaults, and returns an
`nn.Module` that maps images (N, channels, size, size), float32, to logits (N, classes). One that also takes
`heads`, the widths of further heads by name, gives their logits behind those: (N, classes + sum of the widths).

Of a network that is no `nn.Sequential`, `trunk` is one that begins it, up to where it forks, and `behind` all that
follows: its forward of (images, others...) is `behind(trunk(images), others...)`.
"""

import ast
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
    size that is too small for the network, and for `heads` of a network that has but one.
    """
    if name not in names():
        raise UsageError(f"there is no model {name!r}; {nearest(name, names())}")
    builder = _builder(name)
    own = _own(builder)
    if arguments.get("heads") and "heads" not in own:
        able = " and ".join(_taking("heads"))
        raise UsageError(f"model {name} has no head beside the expression's; {able} can have more")
    for argument in arguments:
        if argument not in own:
            able = ", ".join(_taking(argument))
            hint = f"models with it: {able}" if able else nearest(argument, own) if own else "it has none"
            raise UsageError(f"model {name} has no setting {argument!r}; {hint}")
    return builder(classes, channels, size, **arguments)


def describe(name: str) -> str:
    """What is told of a model where it is defined, and of its family. The source is read, not imported."""
    tree = ast.parse(_source(_families()[name]))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    own = next(node for node in functions if _model_name(node.name) == name)
    return f"{ast.get_docstring(tree)}\n\n{name}: {ast.get_docstring(own)}"


def _builder(name: str) -> Callable[..., "nn.Module"]:
    importlib.import_module(f"{__package__}.{_families()[name]}")
    return _builders[name]


def _taking(argument: str) -> list[str]:
    """The models that take an argument of this name."""
    return [name for name in names() if argument in _own(_builder(name))]


def _own(builder: Callable[..., "nn.Module"]) -> list[str]:
    """What a builder takes besides classes, channels and size."""
    return list(inspect.signature(builder).parameters)[3:]


@cache
def _families() -> dict[str, str]:
    """Model name to module name. The sources are searched, not imported, as `--help` must not wait for torch."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        for function in re.findall(r"^@model\ndef (\w+)\(", _source(module.name), re.MULTILINE):
            found[_model_name(function)] = module.name
    return found


def _source(module: str) -> str:
    return files(__package__).joinpath(f"{module}.py").read_text("utf-8")


def _model_name(function: str) -> str:
    return function.replace("_", "-")
