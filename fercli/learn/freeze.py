"""Layers that are not trained: which ones, and what they give, computed once a row instead of once an epoch."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..text import counted
from .device import free_memory
from .infer import answers_of
from .inputs import Inputs


def freeze(network: nn.Module, model: str, count: int) -> list[nn.Module]:
    """Freezes the first `count` convolutions of network `model`, in the order of its modules, and returns the layers.

    With a convolution go the normalisation, activation, pooling and dropout behind it, up to the next layer that has
    weights of its own or flattens the maps. They are to be kept in evaluation mode. Raises UsageError for more
    convolutions than there are, or when nothing would be left to train.
    """
    there = convolutions(network)
    if count > there:
        raise UsageError(f"--freeze {count} is beyond model {model}, which has {counted(there, 'convolution')}")
    frozen: list[nn.Module] = []
    for layer in _leaves(network):
        done = sum(isinstance(other, nn.Conv2d) for other in frozen) == count
        if done and _begins_anew(layer):
            break
        frozen.append(layer.requires_grad_(False))
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UsageError(f"--freeze {count} leaves nothing of model {model} to train: type --freeze {count - 1}")
    return frozen


def split_prefix(network: nn.Module, frozen: Sequence[nn.Module]) -> tuple[nn.Sequential, nn.Module] | None:
    """The network as a part that is `frozen` whole, and what is behind it; None where no convolution is in the first.

    The first ends before the first unit with branches of which some are trained, or where the network forks (see
    `models`). What is frozen beyond it is in the second.
    """
    plain = isinstance(network, nn.Sequential)
    parts = list(_parts(network if plain else network.trunk))
    cut = 0
    while cut < len(parts) and all(layer in frozen for layer in _leaves(parts[cut])):
        cut += 1
    prefix, rest = nn.Sequential(*parts[:cut]), nn.Sequential(*parts[cut:])
    if not convolutions(prefix):
        return None
    return prefix, rest if plain else _Behind(network, rest)


def convolutions(network: nn.Module) -> int:
    """How many there are."""
    return sum(isinstance(layer, nn.Conv2d) for layer in network.modules())


class _Behind(nn.Module):
    """A network that forks, from somewhere in its trunk on: the `rest` of that, and all behind it."""

    def __init__(self, network: nn.Module, rest: nn.Sequential) -> None:
        super().__init__()
        self.network, self.rest = network, rest

    def forward(self, maps: Tensor, *others: Tensor) -> Tensor:
        """What the whole makes of a row, from what the part before makes of its image, and what else it reads."""
        return self.network.behind(self.rest(maps), *others)


@torch.no_grad()
def row_bytes(prefix: nn.Module, normalise: Callable[[Tensor], Tensor], inputs: Inputs, bfloat16: bool) -> int:
    """The memory that one row of what `compute` gives takes."""
    made = compute(prefix, normalise, [values[:1] for values in inputs], bfloat16)
    return sum(values.nbytes for values in made)


@torch.no_grad()
def compute(
    prefix: nn.Module, normalise: Callable[[Tensor], Tensor], inputs: Inputs, bfloat16: bool
) -> tuple[Tensor | np.ndarray, ...]:
    """The rows with what `prefix` makes of their images in the place of these, and in memory what else is read.

    It lies on the device of `prefix`, or in memory where that would fill a GPU by half: float32, or with `bfloat16` as
    a step in that precision makes it.
    """
    images, *others = inputs
    device = next(prefix.parameters()).device
    whole, done = torch.empty(0), 0
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        for maps in answers_of(prefix, normalise, (images,)):
            if not done:
                whole = _room(maps, len(images))
            whole[done : done + len(maps)] = maps
            done += len(maps)
    return whole, *(values[:] for values in others)


def _room(maps: Tensor, rows: int) -> Tensor:
    """Room for so many `rows` of maps, in their layout."""
    layout = torch.channels_last if maps.ndim == 4 else torch.contiguous_format
    fits = maps.device.type == "cpu" or rows * maps[0].nbytes < free_memory(maps.device) / 2
    device = maps.device if fits else "cpu"
    return torch.empty((rows, *maps.shape[1:]), dtype=maps.dtype, device=device, memory_format=layout)


def _leaves(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if not list(layer.children())]


def _parts(network: nn.Module) -> Iterator[nn.Module]:
    """What runs one after the other in `network`, with sequences in sequences laid out flat."""
    if isinstance(network, nn.Sequential):
        for part in network:
            yield from _parts(part)
    else:
        yield network


def _begins_anew(layer: nn.Module) -> bool:
    normalises = isinstance(layer, nn.modules.batchnorm._BatchNorm)
    return isinstance(layer, nn.Flatten) or (not normalises and any(True for _ in layer.parameters()))
