"""Where the network runs: the device asked for, and the sentence for a GPU whose memory is full."""

import contextlib
from collections.abc import Iterator

import torch

from ..errors import DataError, UsageError


def choose_device(name: str) -> torch.device:
    """The device of `--device auto|cpu|cuda`; auto is the GPU where there is one. UsageError: cuda without a GPU."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda needs an NVIDIA GPU, and torch sees none on this machine: type --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        torch.backends.cudnn.benchmark = True  # batches have one size or two, so looking for the fastest kernels pays
        torch.set_float32_matmul_precision("high")  # as convolutions compute by default
    return torch.device(name)


@contextlib.contextmanager
def gpu_memory(batch: int) -> Iterator[None]:
    """Turns torch's error of a full GPU, met while working in batches of `batch`, into a DataError that says so."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        hint = f"type --batch {batch // 2}" if batch > 1 else "type --device cpu"
        raise DataError(f"the GPU's memory is full at --batch {batch}: {hint}") from error
