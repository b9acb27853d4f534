"""Where the network runs and how it computes, and the sentences for memory that is full and a GPU that is gone."""

import contextlib
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from ..errors import DataError, DeviceGone, UsageError
from . import ranks


def choose_device(name: str) -> torch.device:
    """The device of `--device auto|cpu|cuda`; auto is the GPU where there is one, which rounds what it multiplies in
    float32, as training may. UsageError: cuda without a GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda needs an NVIDIA GPU, and torch sees none on this machine: type --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        _round_products(True)
        if ranks.size() > 1:
            return _own_gpu()
    return torch.device(name)


def _round_products(rounded: bool) -> None:
    """Whether a GPU multiplies float32 in ten bits (TF32), several times as fast."""
    torch.backends.cuda.matmul.allow_tf32 = rounded
    torch.backends.cudnn.allow_tf32 = rounded


def compute_exactly() -> None:
    """Has a GPU answer in float32 as a CPU does, as far as the order of sums lets it; see `choose_device`."""
    _round_products(False)


def _own_gpu() -> torch.device:
    """The GPU of this one of several processes. Raises UsageError where there are fewer."""
    here, gpus = ranks.neighbours(), torch.cuda.device_count()
    if here > gpus:
        raise UsageError(
            f"{here} processes need a GPU each, and torch sees {gpus} on this machine: type --nproc-per-node {gpus}"
        )
    device = torch.device("cuda", ranks.place())
    torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device, int8_serves: bool = False) -> torch.dtype:
    """The arithmetic of `--precision auto|float32|bfloat16|int8`.

    auto is int8 where that serves (the model is as good in it) and the device is a CPU that has it, else bfloat16
    where the hardware has that, else float32. Raises UsageError: int8 where the hardware does not multiply in it.
    """
    if name == "int8":
        _check_int8(device)
    if name == "auto":
        name = _quickest(device, int8_serves)
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}[name]


def precision_name(dtype: torch.dtype) -> str:
    """What `--precision` calls it."""
    return str(dtype).removeprefix("torch.")


def _quickest(device: torch.device, int8_serves: bool) -> str:
    amx = has_any("amx_bf16")  # bfloat16 takes a quarter of float32's time there, and int8 is not measured
    if int8_serves and device.type == "cpu" and multiplies_int8() and not amx:
        return "int8"
    return "bfloat16" if multiplies_bfloat16(device) else "float32"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for bfloat16; what has none emulates them, far slower than float32.

    GPUs have them since Ampere. On a CPU with AMX the default model answers four times as fast as in float32, with
    AVX-512 alone twice (`tests.benchmarks.predict`).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return has_any("amx_bf16", "avx512_bf16")


def _check_int8(device: torch.device) -> None:
    """Raises UsageError unless `device` is a CPU with instructions for int8."""
    if device.type != "cpu":
        raise UsageError("--precision int8 is for a CPU, and the network would run on a GPU: add --device cpu")
    if not multiplies_int8():
        raise UsageError("--precision int8 needs a CPU with AVX2, and a torch with oneDNN: leave --precision out")


def multiplies_int8() -> bool:
    """Whether the CPU, and torch on it, has the instructions for int8 that came with AVX2.

    The default model answers in less than half of float32's time there, with VNNI in a quarter; a network of depthwise
    convolutions gains nothing.
    """
    return has_any("avx2") and torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qconv2d_pointwise")


def has_any(*instructions: str) -> bool:
    """Whether the CPU has one of these sets of instructions, as Linux names them."""
    try:
        return not set(instructions).isdisjoint(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux
        return False


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory that nobody uses, or that this process keeps for its next tensors."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def peak_memory(device: torch.device) -> int:
    """The most memory, bytes, that this process has held so far: of the GPU, or where it computes on a CPU, in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


#: What torch says of a GPU that cannot be used any more.
_GONE = ("CUDA error", "CUDNN_STATUS_EXECUTION_FAILED", "CUDNN_STATUS_INTERNAL_ERROR")
_NO_CODE = "the GPU is older or newer than those that this torch has code for"


class MemoryFull(DataError):
    """There is no memory for a batch."""


@contextlib.contextmanager
def device_errors(batch: int | None = None) -> Iterator[None]:
    """Turns what torch raises where memory is full into MemoryFull, and where a GPU is gone into a DeviceGone.

    `batch` is the `--batch` that the work goes by, which may be typed smaller; None where it goes by none.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        if "no kernel image" in reason:
            raise DeviceGone(f"{_NO_CODE}: set CUDA_VISIBLE_DEVICES= to compute on the CPU") from error
        if any(isinstance(one, torch.OutOfMemoryError) for one in _with_causes(error)) or _is_full(reason):
            hint = "end what else runs on it, or set CUDA_VISIBLE_DEVICES= to compute on the CPU"
            raise MemoryFull(f"the GPU's memory is full{_smaller(batch, hint)}") from error
        if "DefaultCPUAllocator" in reason:
            raise MemoryFull(f"the memory is full{_smaller(batch, 'end other programs')}") from error
        if any(word in reason for word in _GONE) and "captur" not in reason:  # which is a fault of ours
            raise DeviceGone(f"the GPU no longer answers ({reason}): type the same command again") from error
        raise


def _is_full(reason: str) -> bool:
    """Whether a library beside torch's own allocator found a GPU full."""
    return "CUDA error: out of memory" in reason or "ALLOC_FAILED" in reason or "STATUS_NOT_INITIALIZED" in reason


def _smaller(batch: int | None, hint: str) -> str:
    """Where memory was full, and what to type: a smaller batch, or where there is none the `hint`."""
    where = "" if batch is None else f" at --batch {batch}"
    return f"{where}: type --batch {batch // 2}" if batch and batch > 1 else f"{where}: {hint}"


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those in whose handling it was met: the end of a capture may hide that memory was full in it."""
    while error is not None:
        yield error
        error = error.__context__
