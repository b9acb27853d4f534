"""What the stages over dense images share."""

from collections.abc import Iterator

import numpy as np

from ..errors import DataError
from ..ops.image import to_gray
from ..store import Block, Reader, block_rows, take

GRADIENTS = ("gray", "gx", "gy")
_PIECE_BYTES = 8 * 1024 * 1024


def require_dense(src: Reader) -> None:
    """Raises DataError unless the store holds images of one size, (N, H, W) or (N, H, W, C)."""
    if "image" not in src.columns:
        raise DataError(
            f"{src.name} holds no images of one size: crop its faces with fer detect --size 48, "
            f"or resize photos that are faces already with fer detect --detector none --size 48"
        )


def pieces(block: Block, rows: int, first: int = 0) -> Iterator[Block]:
    """A block in parts of `rows` rows, or fewer at its ends: they begin anew at every multiple of `rows`, counted from
    where the block's first row is number `first`.
    """
    for start in range(-(first % rows), block_rows(block), rows):
        yield take(block, slice(max(start, 0), start + rows))


def piece_rows(row_bytes: int) -> int:
    """Rows of which a result of `row_bytes` a row fills some 8 MB: a stage that enlarges its rows stays small."""
    return max(1, _PIECE_BYTES // row_bytes)


def grays(images: np.ndarray) -> np.ndarray:
    """(N, H, W) luma of (N, H, W) or (N, H, W, 3) RGB images."""
    if images.ndim == 3:
        return images
    count, height, width, _ = images.shape
    return to_gray(images.reshape(count * height, width, 3)).reshape(count, height, width)
