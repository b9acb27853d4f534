"""What the benchmarks say of the machine: its name, and how fast it multiplies, beside which a network is judged."""

import platform
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from fercli.learn.device import has_any, multiplies_bfloat16

#: Whole numbers that are multiplied at once.
VNNI = ("avx_vnni", "avx512_vnni", "amx_int8")
INSTRUCTIONS = ("avx2", "avx512f", *VNNI, "avx512_bf16", "amx_bf16")
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices
COPIED = {"cpu": 400_000_000, "cuda": 4_000_000_000}  # bytes


def describe(device: torch.device) -> str:
    """Processor with what it is quick by, or GPU; threads and torch."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    has = ", ".join(one for one in INSTRUCTIONS if has_any(one))
    return f"{name} ({has}), {torch.get_num_threads()} threads, torch {torch.__version__}"


def precisions(device: torch.device) -> tuple[str, ...]:
    """The arithmetic of float32 and bfloat16 that the hardware has: how slowly it emulates the other is no question."""
    return ("float32", "bfloat16") if multiplies_bfloat16(device) else ("float32",)


def peak(device: torch.device, dtype: torch.dtype, rounds: int = 5) -> float:
    """Operations a second of a large matrix product, a multiplication and an addition counted as two.

    0 for int8 without VNNI, as torch multiplies such matrices one number at a time there.
    """
    if dtype == torch.int8 and not has_any(*VNNI):
        return 0.0
    side = SIDE[device.type]
    one, other = (torch.randn(side, side, device=device).mul_(20).to(dtype) for _ in range(2))
    product = torch._int_mm if dtype == torch.int8 else torch.mm
    return 2 * side**3 / min(seconds(lambda: product(one, other), device) for _ in range(rounds))


def seconds(run, device: torch.device) -> float:
    """How long `run` takes, its work on the device included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def bandwidth(device: torch.device, rounds: int = 5) -> float:
    """Bytes a second of a large copy, read and written."""
    one = torch.zeros(COPIED[device.type], dtype=torch.uint8, device=device)
    other = torch.empty_like(one).fill_(1)
    return 2 * len(one) / min(seconds(lambda: other.copy_(one), device) for _ in range(rounds))


@torch.no_grad()
def traffic(network: nn.Module, shape: tuple[int, ...], batch: int, item: int) -> int:
    """The fewest bytes that move in a step of Adam on rows of `shape` in numbers of `item` bytes.

    What each layer makes is written once and read twice, on the way there and back, and so is its gradient; float32
    weights are read both ways, their gradients written and read, and they and two averages read and written by Adam.
    """
    made = 0

    def count(_: nn.Module, __: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal made
        made += result[0].numel()

    layers = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.Dropout)  # an activation is part of the layer before it
    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, layers)]
    network.eval()(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return 6 * item * batch * made + 10 * 4 * sum(one.numel() for one in network.parameters())


@torch.no_grad()
def operations(network: nn.Module, *shapes: tuple[int, ...]) -> int:
    """Operations of one row's way through the convolutions and dense layers; `shapes` are those of its inputs."""
    counted = 0

    def count(layer: nn.Module, _: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal counted
        counted += 2 * result[0].numel() * layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else 0
        counted += 2 * layer.weight.numel() if isinstance(layer, nn.Linear) else 0

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    device = next(network.parameters()).device
    network.eval()(*(torch.zeros(1, *shape, device=device) for shape in shapes))
    for hook in hooks:
        hook.remove()
    return counted
