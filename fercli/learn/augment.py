"""Online augmentation, in batches on the device: the transforms of `ops.augment`, with the same draws for a row."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..ops.augment import AFFINE, GRAY, Recipe, holes, lights, matrices

#: What `Augment.draw` may give.
DRAWN = ("move", "light", "hole")


class Augment:
    """A recipe for the rows of one training run. What happens to a row in an epoch depends on its number alone.

    rows (N,): their numbers in the store. `side` is that of the square images, px.
    """

    def __init__(self, recipe: Recipe, rows: np.ndarray, side: int) -> None:
        self._recipe, self._rows, self._side = recipe, rows, side
        self._moves = any(getattr(recipe, name) for name in AFFINE)
        self._lights = bool(recipe.brightness or recipe.contrast)

    def draw(self, epoch: int) -> dict[str, Tensor]:
        """All that is random in an epoch, N rows each, of the transforms that the recipe has.

        move (N, 2, 3): where each place of the result comes from, in the coordinates of `affine_grid`;
        light (N, 2): factor and shift; hole (N, 4): left, top, right, bottom, px.
        """
        recipe, rows, side = self._recipe, self._rows, self._side
        drawn = {}
        if self._moves:
            drawn["move"] = _sampling(matrices(recipe, rows, epoch, side, side), side)
        if self._lights:
            drawn["light"] = lights(recipe, rows, epoch)
        if recipe.erase:
            drawn["hole"] = holes(recipe, rows, epoch, side, side)
        return {name: torch.from_numpy(values.astype(np.float32)) for name, values in drawn.items()}


def transform(pixels: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    """Images (B, C, S, S) float32, 0 to 255, transformed as `Augment.draw` says for these B rows."""
    if "move" in drawn:
        grid = _places(drawn["move"], pixels.shape[-1])
        pixels = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    if "light" in drawn:
        factor, shift = drawn["light"].view(-1, 2, 1, 1, 1).unbind(1)
        pixels = ((pixels - GRAY) * factor + (GRAY + shift)).clamp(0, 255)
    if "hole" in drawn:
        pixels = torch.where(inside(drawn["hole"], pixels.shape[-1]), GRAY, pixels)
    return pixels


def _places(move: Tensor, side: int) -> Tensor:
    """(B, S, S, 2): where the pixels of square images come from, by maps (B, 2, 3), in the coordinates of `_sampling`.

    torch's affine_grid is a matrix product, which GPUs may compute with ten bits: at 227 pixels a twentieth of one.
    """
    u = (2 * torch.arange(side, device=move.device) + 1) / side - 1
    across, down, shift = move.view(-1, 2, 3, 1, 1).unbind(2)  # (B, 2, 1, 1) each
    return (across * u + down * u[:, None] + shift).permute(0, 2, 3, 1)


def inside(box: Tensor, side: int) -> Tensor:
    """(B, 1, S, S) bool: which pixels lie in the boxes (B, 4) of left, top, right, bottom, px."""
    place = torch.arange(side, device=box.device)
    left, top, right, bottom = box.view(-1, 4, 1).unbind(1)
    across, down = (place >= left) & (place < right), (place >= top) & (place < bottom)  # (B, S) each
    return (down[:, :, None] & across[:, None, :]).unsqueeze(1)


def _sampling(forward: np.ndarray, side: int) -> np.ndarray:
    """(n, 2, 3): the inverses of the pixel maps `forward`, in coordinates u = (2x + 1) / side - 1 of a square image."""
    linear = np.linalg.inv(forward[:, :, :2])
    shift = -np.einsum("nij,nj->ni", linear, forward[:, :, 2])
    moved = (linear.sum(axis=2) * (side - 1) + 2 * shift + 1 - side) / side
    return np.concatenate([linear, moved[:, :, None]], axis=2)
