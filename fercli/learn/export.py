"""A trained model as one file that other programs run: an ONNX graph, checked in ONNX Runtime.

The graph is made by torch's TorchScript exporter, which needs no package besides onnx. torch has called it deprecated
since 2.9; the other exporter needs onnxscript, and its graphs differ between the versions of torch that fercli takes.
"""

import copy
import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import __version__
from ..errors import DataError
from .heads import parts, widths
from .inputs import Inputs, answer
from .modelstore import Model

INSTALL = "pip install onnx onnxruntime"
#: How far an answer of the file may lie from the network's, as a share of the largest answer, or of 1 if that is less.
TOLERANCE = 1e-4
_RANDOM = 6  # random pictures that the check asks about


@dataclass(frozen=True)
class Shell:
    """What stands around the network in the file: pixels in, and probabilities out, or neither."""

    preprocessing: bool = False
    softmax: bool = False

    def outputs(self, model: Model) -> list[str]:
        """The names of the graph's outputs: that of the classes, and behind it one for each further head."""
        first = "probability" if self.softmax else "logits"
        return [first, *(f"{first}_{head.name}" for head in model.heads)]


def facts(model: Model, provenance: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What an exported file tells of itself, by name; all but names of one thing is JSON.

    `provenance` is the chain up to the export. Pictures that the model was trained on are not in it.
    """
    card = model.card
    told = {
        "arguments": card.arguments, "classes": model.classes, "channels": model.channels, "size": card.size,
        "mean": card.mean, "deviation": card.deviation, "temperature": card.temperature, "metrics": card.metrics,
        "heads": {head.name: head.classes for head in model.heads}, "provenance": provenance,
    }  # fmt: skip
    return {"fercli": __version__, "architecture": card.name} | {name: json.dumps(it) for name, it in told.items()}


def to_onnx(model: Model, shell: Shell, opset: int, metadata: Mapping[str, str]) -> bytes:
    """The ONNX file of a model on the CPU, for any number of rows N.

    The inputs are the model's columns: "image" is float32 (N, C, H, W), normalised, or with preprocessing uint8
    (N, H, W) or (N, H, W, C); features such as "hog" are float32 (N, D). The outputs are "logits", or with softmax
    "probability", float32 (N, K), and the like for each further head, such as "logits_gender". Raises DataError: no
    package onnx, or an operator that ONNX lacks.
    """
    onnx = _onnx()
    example = _example(model, shell, next(probes(model)))
    whole = _Whole(model, shell, example).eval()
    file, names = io.BytesIO(), [*model.columns, *shell.outputs(model)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # see above
        try:
            torch.onnx.export(
                whole, tuple(example), file, dynamo=False, opset_version=opset, input_names=[*model.columns],
                output_names=shell.outputs(model), dynamic_axes={name: {0: "rows"} for name in names},
            )  # fmt: skip
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            reason = str(error).partition("\n")[0][:200]
            raise DataError(f"{model.card.name} cannot be written in ONNX opset {opset}: {reason}") from error
    proto = onnx.load_model_from_string(file.getvalue())
    onnx.helper.set_model_props(proto, {**metadata, **_interface(model, shell)})
    onnx.checker.check_model(proto)
    return proto.SerializeToString(deterministic=True)


def onnx_metadata(path: str) -> dict[str, str]:
    """What an ONNX file tells of itself. Raises what onnx does where it is none."""
    return {entry.key: entry.value for entry in _onnx().load(path, load_external_data=False).metadata_props}


def deviation(data: bytes, model: Model, shell: Shell) -> float | None:
    """How far the answers of an ONNX file lie from those of its model at most (see TOLERANCE), in ONNX Runtime.

    Asked are pictures at random, extreme ones, and one alone. None where the package onnxruntime is missing. Raises
    DataError for a file that it refuses.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    asked, found, expected = list(probes(model)), [], []
    for inputs in asked:
        expected += _answers(model, shell, inputs)
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for inputs in asked:
            values = [tensor.numpy() for tensor in _example(model, shell, inputs)]
            found += session.run(shell.outputs(model), dict(zip(model.columns, values, strict=True)))
    except Exception as error:  # its errors have no class of their own
        reason = str(error).partition("\n")[0][:200]
        raise DataError(f"ONNX Runtime {onnxruntime.__version__} refuses the file: {reason}") from error
    return max(map(_distance, found, expected))


def probes(model: Model) -> Iterator[list[np.ndarray]]:
    """Inputs that tell a wrong file from a right one: several pictures, and a single one, as a store holds them."""
    rng = np.random.Generator(np.random.PCG64([0]))
    side, channels = model.card.size, len(model.channels)
    shape = (side, side) if channels == 1 else (side, side, channels)
    board = np.indices(shape).sum(0) % 2 * 255
    edges = [np.zeros(shape), np.full(shape, 255), board, np.indices(shape)[1] * 255 // side]
    images = np.stack([*edges, *rng.integers(0, 256, (_RANDOM, *shape))]).astype(np.uint8)
    inputs = [images]
    for name in model.columns[1:]:
        width = model.card.arguments[name]
        features = rng.random((len(images), width))
        features[:2] = [[0.0], [1.0]]
        inputs.append(features.astype(np.float32))
    yield inputs
    yield [values[-1:] for values in inputs]


class _Whole(nn.Module):
    """A model in its shell, as one module."""

    def __init__(self, model: Model, shell: Shell, example: Sequence[Tensor]) -> None:
        super().__init__()
        self.normalise = model.normalise if shell.preprocessing else nn.Identity()
        self.network = copy.deepcopy(model.network)
        self.temperature, self.softmax = model.card.temperature, shell.softmax
        self.widths = list(widths(model.classes, model.heads))
        _spell_out_pools(self, example)

    def forward(self, images: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        """The logits or the probabilities of each head; the temperature is that of the first."""
        logits = self.network(self.normalise(images), *features)
        first, *further = logits.split(self.widths, dim=1) if self.widths else (logits,)
        if not self.softmax:
            return first, *further
        return tuple(part.softmax(1) for part in (first / self.temperature, *further))


class _Means(nn.Module):
    """`nn.AdaptiveAvgPool2d` for maps of one size, as products with constant matrices.

    ONNX has no such pooling, and torch writes it only where the sizes divide.
    """

    def __init__(self, pool: nn.AdaptiveAvgPool2d, maps: Tensor) -> None:
        super().__init__()
        height, width = pool.output_size if isinstance(pool.output_size, tuple) else (pool.output_size,) * 2
        self.register_buffer("rows", functional.adaptive_avg_pool1d(torch.eye(maps.shape[2])[None], height)[0].T)
        self.register_buffer("columns", functional.adaptive_avg_pool1d(torch.eye(maps.shape[3])[None], width)[0])

    def forward(self, maps: Tensor) -> Tensor:
        return self.rows @ maps @ self.columns


@torch.no_grad()
def _spell_out_pools(network: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Puts `_Means` in the place of every adaptive pooling to more than one place; `inputs` are those of `network`."""
    spelt: dict[str, nn.Module] = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size not in (1, (1, 1)):
            layer.register_forward_pre_hook(
                lambda pool, arguments, name=name: spelt.update({name: _Means(pool, *arguments)})
            )
    network(*inputs)
    for name, means in spelt.items():
        network.set_submodule(name, means)


def _example(model: Model, shell: Shell, inputs: Inputs) -> list[Tensor]:
    """What the file is given for rows as a store holds them."""
    images, *features = (torch.as_tensor(values) for values in inputs)
    return [images if shell.preprocessing else model.normalise(images).contiguous(), *features]


@torch.no_grad()
def _answers(model: Model, shell: Shell, inputs: Inputs) -> list[np.ndarray]:
    """What the model makes of such rows, head by head."""
    if shell.softmax:
        return model.answers(inputs)
    logits = answer(model.network, model.normalise, [torch.as_tensor(values) for values in inputs])
    return parts(logits.numpy(), widths(model.classes, model.heads))


def _distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, as a share of the largest expected value or of 1; infinite where one is no number."""
    if found.shape != expected.shape or found.dtype != expected.dtype or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))


def _interface(model: Model, shell: Shell) -> dict[str, str]:
    """What goes in and comes out, in words."""
    side, channels = model.card.size, len(model.channels)
    if shell.preprocessing:
        shape = f"(N, {side}, {side})" if channels == 1 else f"(N, {side}, {side}, {channels})"
        image = f"uint8 {shape}, pixels 0 to 255"
    else:
        image = f"float32 (N, {channels}, {side}, {side}), (pixel - mean) / deviation, pixels 0 to 255"
    output = "probabilities of the classes" if shell.softmax else "logits of the classes"
    return {"input": image, "output": f"float32 (N, {len(model.classes)}), {output}"}


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise DataError(f"writing ONNX needs the package onnx: {INSTALL}") from error
    return onnx
