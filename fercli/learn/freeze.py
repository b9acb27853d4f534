"""Layers that are not trained: which ones, and what they give, computed once a row instead of once an epoch."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .infer import answers_of
from .inputs import Inputs


def freeze(network: nn.Module, model: str, count: int) -> list[nn.Module]:
    """Freezes the first `count` convolutions of network `model`, in the order of its modules, and returns the layers.

    With a convolution go the normalisation, activation, pooling and dropout behind it, up to the next layer that has
    weights of its own or flattens the maps. They are to be kept in evaluation mode. Raises UsageError for more
    convolutions than there are, or when nothing would be left to train.
    """
    layers = _leaves(network)
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in layers)
    if count > convolutions:
        raise UsageError(f"--freeze {count} is beyond model {model}, which has {convolutions} convolutions")
    frozen: list[nn.Module] = []
    for layer in layers:
        done = sum(isinstance(other, nn.Conv2d) for other in frozen) == count
        if done and _begins_anew(layer):
            break
        frozen.append(layer.requires_grad_(False))
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UsageError(f"--freeze {count} leaves nothing of model {model} to train: type --freeze {count - 1}")
    return frozen


def split_prefix(network: nn.Module, frozen: Sequence[nn.Module]) -> tuple[nn.Sequential, nn.Sequential] | None:
    """The network as the part that is frozen and the part behind it; None unless it is a plain sequence there."""
    parts = list(_parts(network))
    cut = 0
    while cut < len(parts) and all(layer in frozen for layer in _leaves(parts[cut])):
        cut += 1
    if sum(len(_leaves(part)) for part in parts[:cut]) < len(frozen):
        return None
    return nn.Sequential(*parts[:cut]), nn.Sequential(*parts[cut:])


@torch.no_grad()
def row_bytes(prefix: nn.Module, normalise: Callable[[Tensor], Tensor], inputs: Inputs, bfloat16: bool) -> int:
    """The memory that what `prefix` makes of one row takes."""
    return compute(prefix, normalise, [values[:1] for values in inputs], bfloat16).nbytes


@torch.no_grad()
def compute(prefix: nn.Module, normalise: Callable[[Tensor], Tensor], inputs: Inputs, bfloat16: bool) -> Tensor:
    """What `prefix` makes of the rows, on its device: float32, or with `bfloat16` as a step in that precision does."""
    device = next(prefix.parameters()).device
    whole, done = torch.empty(0), 0
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        for maps in answers_of(prefix, normalise, inputs):
            if not done:
                whole = _room(maps, len(inputs[0]))
            whole[done : done + len(maps)] = maps
            done += len(maps)
    return whole


def _room(maps: Tensor, rows: int) -> Tensor:
    """Room for so many `rows` of maps, in their layout."""
    layout = torch.channels_last if maps.ndim == 4 else torch.contiguous_format
    return torch.empty((rows, *maps.shape[1:]), dtype=maps.dtype, device=maps.device, memory_format=layout)


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
