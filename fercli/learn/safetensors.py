"""The safetensors format: 8 bytes with the length of a JSON header, the header, and the values of the tensors."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError
from ..store import opened

_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_METADATA = "__metadata__"
_ALIGNMENT = 8  # bytes; where the values begin


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, and what it tells of itself.

    Raises DataError unless every tensor lies within the file and has the size that its shape and type tell.
    """
    with opened(str(path)) as file:
        data = bytearray(file.read())
    begin = 8 + int.from_bytes(data[:8], "little")
    if not 8 < begin <= len(data):
        raise DataError(f"{path} is no safetensors file: its header does not fit into its {len(data):,} bytes")
    try:
        header = json.loads(data[8:begin])
        told = header.pop(_METADATA, None) or {}
        metadata = {key: text for key, text in told.items() if isinstance(text, str)}
        return {name: _tensor(data, begin, entry) for name, entry in header.items()}, metadata
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is a damaged safetensors file: {str(error)[:100]}") from error


def _tensor(data: bytearray, begin: int, entry: Mapping[str, Any]) -> Tensor:
    """The tensor that a header's entry tells of. `begin` is where the values begin in `data`."""
    dtype, shape, (first, last) = _TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, first, last)):
        raise ValueError(f"shape {shape} at {first} to {last}")
    count = math.prod(shape)
    if last > len(data) - begin or last - first != count * dtype.itemsize:
        raise ValueError(f"shape {shape} at {first} to {last} of {len(data) - begin} bytes")
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=count, offset=begin + first).reshape(shape)


def as_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The safetensors file of `tensors`; the same ones give the same bytes.

    Wide numbers stand before narrow ones, so that each tensor lies at a multiple of its width and can be mapped.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    values = [tensors[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for name in names]
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    first = 0
    for name, raw in zip(names, values, strict=True):
        shape = list(tensors[name].shape)
        header[name] = {"dtype": _NAMES[tensors[name].dtype], "shape": shape, "data_offsets": [first, first + len(raw)]}
        first += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *values])
