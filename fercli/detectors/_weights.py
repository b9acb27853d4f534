"""The weights of MTCNN: from the pip package `mtcnn`, kept as a store in the cache folder, or from such a store.

The package holds pickles, and a pickle can run anything. None is unpickled here: a file is taken only if it is the very
one that was published (by its SHA-256), and then the place of each array in it is known.
"""

import hashlib
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..store import Reader, create_store, open_store
from . import _package
from ._networks import Cascade

#: File, its SHA-256, and where each array of a network begins in it once decompressed, in the order of the network's
#: weights: float32, convolutions by row, column, input, output; dense layers by input, output.
_PUBLISHED = {
    "pnet": (
        "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
        (240, 1376, 1472, 1568, 7376, 7504, 7632, 26112, 26304, 27136, 27440, 26496, 27056),
    ),
    "rnet": (
        "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
        (240, 3312, 3488, 3664, 52096, 52352, 52608, 101808, 102128, 102448, 397408, 397968, 400688, 401760, 398528,
         400624),
    ),
    "onet": (
        "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
        (240, 3744, 3936, 4128, 77904, 78224, 78544, 226048, 226368, 226688, 357808, 358384, 358960, 1538656, 1539728,
         1555424, 1557520, 1540816, 1544960, 1545040, 1555328),
    ),
}  # fmt: skip
_INSTALL = "pip install --no-deps mtcnn lz4"
#: What a model store says of its network; this one is no classifier, and `fer predict -m` says so.
_CARD = {
    "name": "mtcnn", "arguments": {}, "size": 48, "mean": [127.5] * 3, "deviation": [128.0] * 3, "spec": {},
    "metrics": {},
}  # fmt: skip
_lock = threading.Lock()


@lru_cache(maxsize=4)
def cascade(path: str | None) -> Cascade:
    """The three networks, in evaluation mode, with the weights of a store, or else those of the package.

    Raises DataError: no weights at hand, a store of another kind or damaged, another version of the package's files.
    """
    with _lock:  # one thread fills the cache
        network = _from_file(Path(path)) if path else _kept()
    return network.eval().requires_grad_(False)


def _kept() -> Cascade:
    """Those of the store in the cache folder, which is made of the package where it is missing or cannot be read."""
    store = _package.kept()
    if store.is_file():
        try:
            return _from_file(store)
        except DataError as error:
            if not _package.complete():
                raise DataError(
                    f"{store}, where the weights of mtcnn are kept, cannot be read: delete it, and {_INSTALL}"
                ) from error
    network = _from_package()
    _keep(network, store)
    return network


def _from_package() -> Cascade:
    folder = _package.folder()
    if folder is None:
        raise DataError(f"the detector mtcnn needs weights, which the package mtcnn brings: {_INSTALL}")
    network = Cascade()
    weights: dict[str, Tensor] = {}
    for name, (published, starts) in _PUBLISHED.items():
        data = _decompressed(folder / f"{name}.lz4", published)
        shapes = {key: values.shape for key, values in network.state_dict().items() if key.startswith(name)}
        for (key, shape), start in zip(shapes.items(), starts, strict=True):
            weights[key] = _array(data, start, shape)
    network.load_state_dict(weights)
    return network


def _decompressed(path: Path, published: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {_INSTALL}") from error
    if hashlib.sha256(data).hexdigest() != published:
        raise DataError(f"{path} is not the file that was published with mtcnn 1.0.0: {_INSTALL} again")
    try:
        import lz4.frame
    except ImportError as error:
        raise DataError(f"{path} is compressed with lz4, which is missing: {_INSTALL}") from error
    return lz4.frame.decompress(data)


def _array(data: bytes, start: int, shape: tuple[int, ...]) -> Tensor:
    """One array as torch has it: output first."""
    values = np.frombuffer(data, "<f4", int(np.prod(shape)), start)
    if len(shape) == 4:
        values = values.reshape(*shape[2:], shape[1], shape[0]).transpose(3, 2, 0, 1)
    elif len(shape) == 2:
        values = values.reshape(shape[::-1]).T
    return torch.from_numpy(np.array(values))


def _keep(network: Cascade, store: Path) -> None:
    """Writes the weights where the next run finds them, the package being there or not."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with create_store(store) as dst:
            dst.start("model", (), ("red", "green", "blue"))
            dst.document("model", _CARD)
            for name, values in network.state_dict().items():
                dst.array(f"weights/{name}", values.numpy())
            dst.document("provenance", [])
    except (OSError, DataError):
        return  # a cache that cannot be written is no loss: the package is there


def _from_file(store: Path) -> Cascade:
    with open_store(store, "model") as src:
        return _from_store(src)


def _from_store(src: Reader) -> Cascade:
    document = src.documents.get("model")
    if not isinstance(document, dict) or document.get("name") != _CARD["name"]:
        raise DataError(f"{src.name} holds no weights of mtcnn: leave --weights out, and {_INSTALL}")
    network = Cascade()
    found = src.arrays("weights")
    for name, values in network.state_dict().items():
        stored = found.get(name)
        if stored is None or stored.dtype != np.float32 or stored.shape != values.shape:
            raise DataError(f"{src.name} is damaged: it holds no float32 weights {name} of shape {tuple(values.shape)}")
        if not np.isfinite(stored).all():
            raise DataError(f"{src.name} is damaged: the weights {name} hold values that are not finite numbers")
    network.load_state_dict({name: torch.from_numpy(found[name]) for name in network.state_dict()})
    return network
