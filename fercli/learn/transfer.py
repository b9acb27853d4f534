"""Weights taken over from another network: layer by layer, where name and shape are the same."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..errors import DataError
from .weights import Weights

NAMED = 12  # layers that a note names; of more it tells how many


def head_of(narrow: nn.Module, wide: nn.Module) -> set[str]:
    """The layers that answer in classes: those of another shape in the same network for another number of classes."""
    other = wide.state_dict()
    return {_layer(name) for name, values in narrow.state_dict().items() if other[name].shape != values.shape}


@torch.no_grad()
def transfer(
    network: nn.Module, weights: Weights, head: Iterable[str], classes: tuple[str, ...]
) -> tuple[str, frozenset[str]]:
    """Takes over every layer that `weights` hold whole and in the same shapes; the others stay as they are.

    Of a file that does not tell its channels, three are taken for colours: a convolution of three goes into one of a
    single channel as their sum, which makes of a gray picture what it made of three channels alike.
    The layers of the `head` are taken only if the weights tell their classes and these are `classes`, in this order.
    Returns a note of what was taken and what was not, and the names of the layers that were not. Raises DataError if
    nothing was, or a value is no finite number.
    """
    state = network.state_dict()
    summed = {name: weights.tensors[name].sum(1, keepdim=True) for name in _of_colours(state, weights)}
    weights = replace(weights, tensors={**weights.tensors, **summed})
    layers: dict[str, dict[str, Tensor]] = {}
    for name, values in state.items():
        layers.setdefault(_layer(name), {})[name] = values
    anew = {name: _fault(ours, weights.tensors) for name, ours in layers.items()}
    if weights.classes != classes:
        why = "its classes are not told" if weights.classes is None else "for other classes"
        anew |= {name: why for name in head if not anew[name]}
    taken = [name for name, fault in anew.items() if not fault]
    if not taken:
        raise DataError(
            f"{weights.name} fits no layer of the network: it holds {_holdings(weights.tensors)}; "
            f"the network takes {_holdings(state)}" + (f"; type --model {weights.other}" if weights.other else "")
        )
    for name in taken:
        _copy(layers[name], weights)
    unused = {_layer(name) for name in weights.tensors} - layers.keys()
    left = {name: fault for name, fault in anew.items() if fault}
    note = _note(weights.name, taken, left, sorted(unused))
    note += f"; colours summed into gray: {some([_layer(name) for name in summed])}" if summed else ""
    return note, frozenset(left)


def _of_colours(state: Mapping[str, Tensor], weights: Weights) -> list[str]:
    """The convolutions that have one channel here and three there."""
    if weights.classes is not None:
        return []
    shared = sorted(state.keys() & weights.tensors.keys())
    return [name for name in shared if _is_summed(tuple(state[name].shape), tuple(weights.tensors[name].shape))]


def _is_summed(here: tuple[int, ...], there: tuple[int, ...]) -> bool:
    return len(here) == 4 and here[1] == 1 and there == (here[0], 3, *here[2:])


def _layer(name: str) -> str:
    return name.rpartition(".")[0] or name


def _fault(ours: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Why a layer cannot be taken over; nothing if it can. Counters, whole numbers, may be missing."""
    for name, values in ours.items():
        other = found.get(name)
        if other is None:
            if values.is_floating_point():
                return "not there" if not found.keys() & ours.keys() else f"no {name.rpartition('.')[2]} there"
        elif other.shape != values.shape:
            return f"{_shape(other)} there, {_shape(values)} here"
        elif other.is_floating_point() != values.is_floating_point():
            return f"{str(other.dtype).removeprefix('torch.')} there"
    return ""


def _copy(ours: Mapping[str, Tensor], weights: Weights) -> None:
    for name in ours.keys() & weights.tensors.keys():
        values = weights.tensors[name].to(ours[name].dtype)
        if not values.isfinite().all():
            raise DataError(
                f"{weights.name} is damaged: the weights {name} hold values that are not finite numbers in float32"
            )
        ours[name].copy_(values)


def _note(name: str, taken: list[str], anew: Mapping[str, str], unused: list[str]) -> str:
    text = f"{name} gives {len(taken)} of {len(taken) + len(anew)} layers: {some(taken)}"
    if anew:
        text += f"; {len(anew)} anew: {some([f'{layer} ({fault})' for layer, fault in anew.items()])}"
    if unused:
        text += f"; {len(unused)} not used: {some(unused)}"
    return text


def some(names: list[str]) -> str:
    """The names, or the first of many."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _holdings(tensors: Mapping[str, Tensor]) -> str:
    described = [f"{name} ({_shape(values)})" for name, values in tensors.items()]
    return ", ".join(described[:2]) + (" and so on" if len(described) > 2 else "") if described else "nothing"


def _shape(values: Tensor) -> str:
    return "x".join(map(str, values.shape)) or "one number"
