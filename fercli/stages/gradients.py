"""`fer gradients`: gradient channels and HOG features beside the rows of a store."""

from dataclasses import dataclass

import numpy as np

from ..errors import DataError, UsageError
from ..ops.gradients import MAPPINGS, OPERATORS, gradients
from ..ops.hog import FEATURES, hog
from ..ops.image import resize
from ..spec import Spec, option
from ..store import Block, Reader, Writer, block_rows
from .dense import GRADIENTS, grays, piece_rows, pieces, require_dense
from .runner import Log


@dataclass(frozen=True)
class GradientsSpec(Spec):
    """Settings of `fer gradients`."""

    operator: str = option(
        "sobel",
        "Derivative for the channels Gx and Gy; none keeps the channels as they are.",
        choices=(*OPERATORS, "none"),
    )
    mapping: str = option(
        "signed",
        "Derivative to 0..255: saturate clips below 0 and above 255, scaled takes |g|, signed puts 0 at 128.",
        choices=MAPPINGS,
    )
    size: int | None = option(None, "Resize to SIZE x SIZE first.", low=1, high=4096, metavar="PX")
    hog: bool = option(False, "Add HOG features of the gray image.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.operator == "none" and not self.hog and self.size is None:
            raise UsageError("--operator none leaves nothing to do: add --hog or --size 48")

    @property
    def line(self) -> str:
        """The command with these settings, for a person to type."""
        size, hog = f" --size {self.size}" if self.size else "", " --hog" if self.hog else ""
        return f"fer gradients --operator {self.operator} --mapping {self.mapping}{size}{hog}"


def run(src: Reader, dst: Writer, spec: GradientsSpec, log: Log) -> None:
    """Rows of `src` with channels gray, gx, gy; all other columns as they are. Row numbers stay, so `parent` does too.

    Raises DataError: no dense images, gradient channels already, or sides that HOG cannot cut in 6 x 6 cells.
    """
    require_dense(src)
    if src.channels == GRADIENTS:
        raise DataError(f"{src.name} has the channels gray, gx, gy already: give the store it was made from")
    if "augment" in src.documents:
        raise DataError(
            f"{src.name} carries a recipe of online augmentation, which changes pictures, and gradients or features "
            f"would not follow: make copies first, fer augment without --online, then fer gradients"
        )
    dst.start("samples", src.classes, src.channels if spec.operator == "none" else GRADIENTS)
    log.total(src.rows)
    for block in src.blocks():
        for piece in pieces(block, piece_rows(_row_bytes(src, spec))):
            dst.append(transform(piece, spec))
            log.advance(block_rows(piece))


def _row_bytes(src: Reader, spec: GradientsSpec) -> int:
    height, width = (spec.size, spec.size) if spec.size else src.shape("image")[:2]
    return height * width * len(GRADIENTS) + (4 * FEATURES if spec.hog else 0)


def transform(block: Block, spec: GradientsSpec) -> Block:
    """The block with what the settings ask for; its `image` is (N, H, W) or (N, H, W, 3) RGB."""
    images = block["image"]
    if spec.size:
        images = np.stack([resize(image, spec.size, spec.size) for image in images])
    gray = grays(images)
    changed = {"image": images if spec.operator == "none" else gradients(gray, spec.operator, spec.mapping)}
    if spec.hog:
        changed["hog"] = hog(gray)
    return {**block, **changed}
