"""The weights that a training run may begin with: another model, a file of torch or safetensors, published ones."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..models.shipped import model_path
from ..store import file_digest, open_store, opened
from . import modelstore, published
from .safetensors import read_safetensors

_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)  # those narrower come with scales of their own
_SAVE = "save one with torch.save(network.state_dict(), FILE.pth)"


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and what else is known of them."""

    name: str  # as the person calls them
    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] | None = None  # None: a file that does not tell them
    trained_on: np.ndarray = field(default_factory=lambda: np.empty((0, 16), np.uint8))  # digests of pictures
    other: str = ""  # the model that they are of, in fercli.models, if that is another and the file tells


def read_weights(init: str, model: str, tell: Callable[[str], None]) -> Weights:
    """The weights that `--init` names: a model store, FILE.pth or .pt, FILE.safetensors, the name of a model that
    comes with the package, or "imagenet" for `model`.

    Raises DataError for what cannot be read or fetched, UsageError where nothing is published for the model.
    """
    if init == published.WORD:
        return Weights(init, read_torch(published.fetch(published.of(model), tell)))
    suffix = Path(init).suffix.lower()
    if suffix in (".pth", ".pt"):
        return Weights(init, read_torch(Path(init)))
    if suffix == ".safetensors":
        tensors, metadata = read_safetensors(Path(init))
        return Weights(init, tensors, _classes(metadata, init))
    with open_store(model_path(init), "model") as src:
        tensors = {name: torch.from_numpy(values) for name, values in modelstore.read_weights(src).items()}
        name = modelstore.read_card(src).name
        return Weights(init, tensors, src.classes, src.array("trained_on"), name if name != model else "")


def _classes(metadata: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    """The classes that a file of fer export tells of; None for any other file. Raises DataError: no list of names."""
    if "fercli" not in metadata:
        return None
    try:
        classes = json.loads(metadata["classes"])
    except (KeyError, ValueError, RecursionError):
        classes = None
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes):
        raise DataError(f"{name} is damaged: its classes are no list of names")
    return tuple(classes)


def digest(init: str, model: str) -> str:
    """A hex digest of what `--init` names; of what is published it is known before any download."""
    if init == published.WORD:
        return published.of(model).sha256
    return file_digest(model_path(init))


def read_torch(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of torch.save. Nothing in the file is run. Raises DataError."""
    with opened(str(path)) as file:
        try:
            found = torch.load(file, map_location="cpu", weights_only=True)
        except OSError:  # which `opened` tells of
            raise
        except UnpicklingError as error:  # more than tensors, or no file of torch; its advice is to run it
            raise DataError(f"{path} is no state dict of plain tensors: {_SAVE}") from error
        except Exception as error:  # a damaged or hostile file raises whatever its bytes lead the reader into
            reason = str(error).partition("\n")[0][:100]
            raise DataError(f"{path} is no state dict of plain tensors that torch can read: {reason}") from error
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise DataError(f"{path} is no state dict: {_SAVE}")
    for name, value in found.items():
        if oddity := _oddity(value):
            raise DataError(f"{path} is no state dict of plain tensors that torch can read: {name} is {oddity}")
    return dict(found)


def _oddity(value: Tensor) -> str:
    """What makes a tensor more than numbers in memory; nothing if it is plain."""
    if value.is_nested or value.layout != torch.strided:
        return "not dense"
    if value.device.type != "cpu":
        return f"on the device {value.device.type}, without values"
    if value.is_quantized or (value.is_floating_point() and value.dtype not in _FLOATS):
        return f"of {str(value.dtype).removeprefix('torch.')}: save it in float32"
    return ""
