"""The weights that a training run may begin with: another model, a file of torch or safetensors, published ones."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..store import open_store
from . import published

IMAGENET = "imagenet"

_SAFETENSORS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and what else is known of them."""

    name: str  # as the person calls them
    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] | None = None  # None: a file that does not tell them
    trained_on: np.ndarray = field(default_factory=lambda: np.empty((0, 16), np.uint8))  # digests of pictures


def read_weights(init: str, model: str, tell: Callable[[str], None]) -> Weights:
    """The weights that `--init` names: a model store, FILE.pth or .pt, FILE.safetensors, or "imagenet" for `model`.

    Raises DataError for what cannot be read or fetched, UsageError where nothing is published for the model.
    """
    if init == IMAGENET:
        return Weights(init, read_torch(published.fetch(published.of(model), tell)))
    suffix = Path(init).suffix.lower()
    if suffix in (".pth", ".pt"):
        return Weights(init, read_torch(Path(init)))
    if suffix == ".safetensors":
        return Weights(init, read_safetensors(Path(init)))
    with open_store(init, "model") as src:
        tensors = {name: torch.from_numpy(np.asarray(values)) for name, values in src.arrays("weights").items()}
        return Weights(init, tensors, src.classes, src.array("trained_on"))


def digest(init: str, model: str) -> str:
    """A hex digest of what `--init` names; of what is published it is known before any download."""
    if init == IMAGENET:
        return published.of(model).sha256
    state = hashlib.blake2b(digest_size=16)
    try:
        with open(init, "rb") as file:
            while chunk := file.read(1 << 20):
                state.update(chunk)
    except OSError as error:
        raise DataError(f"{init} cannot be read: {error.strerror}") from error
    return state.hexdigest()


def read_torch(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of torch.save. Nothing in the file is run. Raises DataError."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # a damaged or hostile file raises whatever its bytes lead the reader into
        reason = str(error).partition("\n")[0][:100]
        raise DataError(f"{path} is no state dict of plain tensors that torch can read: {reason}") from error
    if not isinstance(found, Mapping) or not all(_is_plain(key, value) for key, value in found.items()):
        raise DataError(f"{path} is no state dict: save one with torch.save(network.state_dict(), FILE.pth)")
    return dict(found)


def _is_plain(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file: 8 bytes with the length of a JSON header, the header, the values.

    Raises DataError unless every tensor lies within the file and has the size that its shape and type tell.
    """
    try:
        data = bytearray(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    begin = 8 + int.from_bytes(data[:8], "little")
    if not 8 < begin <= len(data):
        raise DataError(f"{path} is no safetensors file: its header does not fit into its {len(data):,} bytes")
    try:
        header = json.loads(data[8:begin])
        header.pop("__metadata__", None)
        return {name: _tensor(data, begin, entry) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is a damaged safetensors file: {str(error)[:100]}") from error


def _tensor(data: bytearray, begin: int, entry: Mapping[str, Any]) -> Tensor:
    """The tensor that a header's entry tells of. `begin` is where the values begin in `data`."""
    dtype, shape, (first, last) = _SAFETENSORS[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, first, last)):
        raise ValueError(f"shape {shape} at {first} to {last}")
    count = math.prod(shape)
    if last > len(data) - begin or last - first != count * dtype.itemsize:
        raise ValueError(f"shape {shape} at {first} to {last} of {len(data) - begin} bytes")
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=count, offset=begin + first).reshape(shape)
