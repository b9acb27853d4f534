"""Where the network runs and how it computes, and the sentence for a GPU whose memory is full."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from ..errors import DataError, UsageError
from . import ranks


def choose_device(name: str) -> torch.device:
    """The device of `--device auto|cpu|cuda`; auto is the GPU where there is one. UsageError: cuda without a GPU."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda needs an NVIDIA GPU, and torch sees none on this machine: type --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        torch.set_float32_matmul_precision("high")  # as convolutions compute by default
        if ranks.size() > 1:
            return _own_gpu()
    return torch.device(name)


def _own_gpu() -> torch.device:
    """The GPU of this one of several processes. Raises UsageError where there are fewer."""
    here, gpus = ranks.neighbours(), torch.cuda.device_count()
    if here > gpus:
        raise UsageError(
            f"{here} processes need a GPU each, and torch sees {gpus} on this machine: "
            f"type --nproc-per-node {gpus}, or --device cpu"
        )
    device = torch.device("cuda", ranks.place())
    torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The arithmetic of `--precision auto|float32|bfloat16`; auto is bfloat16 where the hardware multiplies in it."""
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" or _multiplies_bfloat16() else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def _multiplies_bfloat16() -> bool:
    """Whether the CPU has units for bfloat16 matrices. Others emulate them, slower than float32."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False


@contextlib.contextmanager
def gpu_memory(batch: int) -> Iterator[None]:
    """Turns torch's error of a full GPU, met while working in batches of `batch`, into a DataError that says so."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        hint = f"type --batch {batch // 2}" if batch > 1 else "type --device cpu"
        raise DataError(f"the GPU's memory is full at --batch {batch}: {hint}") from error
