"""Parametric pictures of faces with a perceived expression, for trying the pipeline without any data set.

A picture is albedo times light: the outlines of `synthetic_face` are filled on a finer grid and averaged down, the
relief is lit by one lamp, and the exposure, gamma, blur and noise of a camera follow.
"""

from typing import NamedTuple

import cv2
import numpy as np

from ..labels import EMOTIONS
from .synthetic_face import Face, Relief, Shape, build_face
from .synthetic_person import Identity, draw_action_units, draw_identity

#: The square of face units that a picture of one face shows, which is the square that face detectors return:
#: its centre lies CENTRE below the origin and its side is SIDE.
CENTRE, SIDE = 0.13, 2.2
#: Side in pixels, at least, of the grid on which the outlines are filled.
FINE = 176
_SHIFT = 3  # fractional bits of the coordinates given to cv2
_GRID = np.linspace(-1.95, 1.95, 40)  # face units, across and down, at which the light is reckoned


class Pose(NamedTuple):
    """Where a face is: the head turns (radians), then goes to its place in the picture."""

    yaw: float
    pitch: float
    affine: np.ndarray  # (2, 3): turned face units to pixels


class Light(NamedTuple):
    direction: np.ndarray  # (3,) unit vector towards the lamp: x right, y down, z to the viewer
    ambient: float  # share of the light that comes from everywhere, 0 to 1


class Scene(NamedTuple):
    image: np.ndarray  # (H, W, 3) uint8 RGB
    boxes: np.ndarray  # (n, 4) float32 x y w h in pixels, the square of each face
    expressions: tuple[str, ...]  # n names of `labels.EMOTIONS`


def draw_face(
    rng: np.random.Generator, expression: str, size: int = 48, identity: Identity | None = None
) -> np.ndarray:
    """One face that fills the picture. (size, size) uint8.

    `expression` is one of `labels.EMOTIONS`; a random person shows it unless `identity` says who.
    """
    who = identity or draw_identity(rng)
    face = build_face(who, draw_action_units(rng, expression), rng.uniform(-0.7, 0.7))
    fine = -(-FINE // size)
    canvas = _background(rng, size * fine, size * fine)
    scale = size / SIDE * rng.uniform(0.95, 1.07)
    centre = size * (0.5 + 0.022 * rng.standard_normal(2).clip(-2, 2))
    pose = _draw_pose(rng, scale, centre)
    picture = _paint(canvas, face, pose, _draw_light(rng), fine)
    if rng.uniform() < 0.08:
        _occlude(rng, picture)
    return _expose(rng, picture)


def draw_scene(rng: np.random.Generator, height: int = 360, width: int = 480) -> Scene:
    """A photo of one to five people who stand apart from each other, most of whom a frontal-face detector finds."""
    chroma = [_patches(rng, height, width, 112, 145) for _ in range(2)]
    picture = cv2.merge([_background(rng, height, width, 12), *chroma]).astype(np.float32)
    boxes = _place(rng, rng.integers(1, 6), height, width)
    expressions = tuple(EMOTIONS[k] for k in rng.integers(len(EMOTIONS), size=len(boxes)))
    light = _draw_light(rng)
    for (x, y, side, _), expression in zip(boxes.tolist(), expressions, strict=True):
        face = build_face(draw_identity(rng), draw_action_units(rng, expression), rng.uniform(-0.7, 0.7))
        left, top = max(0, int(x - 0.5 * side)), max(0, int(y - 0.5 * side))
        part = picture[top:, left : int(x + 1.5 * side)]  # down to the edge: the body goes on
        fine = -(-FINE // int(side))
        canvas = np.rint(part).astype(np.uint8).repeat(fine, 0).repeat(fine, 1)
        centre = np.array([x + side / 2 - left, y + side / 2 - top])
        part[:] = _paint(canvas, face, _draw_pose(rng, side / SIDE, centre), light, fine)
    picture[..., 1:] = cv2.GaussianBlur(picture[..., 1:], (0, 0), 1.5)  # as JPEG files and sensors have it
    ycc = np.dstack([_expose(rng, picture[..., 0]), np.rint(picture[..., 1:]).astype(np.uint8)])
    return Scene(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), boxes, expressions)


def _place(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Squares of up to `count` faces (fewer where there is no room), the farther first. (n, 4) float32 x y w h."""
    places: list[tuple[float, float, float]] = []  # y, x, side
    for _ in range(20 * count):
        side = min(height, width) * rng.uniform(0.17, 0.36)
        x, y = rng.uniform(0.3 * side, (width - 1.3 * side, height - 1.3 * side)).tolist()
        if len(places) < count and all(_apart(x, y, side, *place) for place in places):
            places.append((y, x, side))
    return np.array([(x, y, side, side) for y, x, side in sorted(places)], np.float32)


def _apart(x: float, y: float, side: float, other_y: float, other_x: float, other_side: float) -> bool:
    """Whether two squares leave more than half of their mean side between them, in x or in y."""
    shift = (side - other_side) / 2
    return max(abs(x - other_x + shift), abs(y - other_y + shift)) > 0.8 * (side + other_side)


def _draw_pose(rng: np.random.Generator, scale: float, centre: np.ndarray) -> Pose:
    """A random pose: `scale` pixels are a face unit, and the face square has its centre at pixel `centre`."""
    yaw, pitch, roll = rng.standard_normal(3).clip(-2, 2) * (0.13, 0.07, 0.07)
    squeeze = rng.uniform(0.95, 1.05)
    cos, sin = scale * np.cos(roll), scale * np.sin(roll)
    linear = np.array([[cos * squeeze, -sin], [sin * squeeze, cos]])
    offset = centre - linear @ (0.0, CENTRE)
    return Pose(yaw, pitch, np.column_stack([linear, offset]))


def _draw_light(rng: np.random.Generator) -> Light:
    direction = np.array([rng.normal(0.0, 0.5), rng.normal(-0.35, 0.3), 1.0])
    return Light(direction / np.linalg.norm(direction), rng.uniform(0.25, 0.6))


def _turn(points: np.ndarray, pose: Pose) -> np.ndarray:
    """Points of the head's surface, turned by yaw and pitch and seen from the front. (n, 2) to (n, 2)."""
    x, y = points[:, 0], points[:, 1]
    inside = np.maximum(0.0, 1.0 - x**2 - (0.75 * y) ** 2)
    depth = 0.9 * np.sqrt(inside) + 0.2 * np.exp(-((x / 0.15) ** 2) - ((y - 0.35) / 0.2) ** 2)
    turned = depth * np.cos(pose.yaw) - x * np.sin(pose.yaw)
    # The head turns about its middle, so its outline stays where it is while the features move.
    across = x * np.cos(pose.yaw) + depth * np.sin(pose.yaw)
    return np.stack([across, y * np.cos(pose.pitch) + turned * np.sin(pose.pitch)], axis=1)


def _paint(canvas: np.ndarray, face: Face, pose: Pose, light: Light, fine: int) -> np.ndarray:
    """The face before `canvas`, lit and averaged down by `fine`.

    `canvas` is uint8, (H*fine, W*fine) gray or (H*fine, W*fine, 3) YCrCb, and is drawn over. Returns float32 of 0 to
    255, (H, W) or (H, W, 3).
    """
    mask = np.zeros(canvas.shape[:2], np.uint8)
    shapes = face.body + face.features
    outlines = _outlines(shapes, pose, fine)
    unit = fine * np.sqrt(abs(np.linalg.det(pose.affine[:, :2])))
    for index, (shape, outline) in enumerate(zip(shapes, outlines, strict=True)):
        _draw(canvas, outline, (255.0 * shape.tone, *shape.chroma), shape.width * unit)
        if index < len(face.body):
            _draw(mask, outline, (255.0,), 0.0)
    height, width = canvas.shape[0] // fine, canvas.shape[1] // fine
    albedo = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    cover = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    luma = albedo if albedo.ndim == 2 else albedo[..., 0]
    luma *= 1.0 + cover * (_shade(face.relief, pose, light, height, width) - 1.0)
    return albedo


def _outlines(shapes: tuple[Shape, ...], pose: Pose, fine: int) -> list[list[np.ndarray]]:
    """The parts of every shape as fixed-point pixels of the fine grid, each (n, 2) int32."""
    parts = [part for shape in shapes for part in shape.parts]
    pixels = _turn(np.concatenate(parts), pose) @ pose.affine[:, :2].T + pose.affine[:, 2]
    pixels = np.rint((pixels * fine - 0.5) * (1 << _SHIFT)).astype(np.int32)
    split = iter(np.split(pixels, np.cumsum([len(part) for part in parts])[:-1]))
    return [[next(split) for _ in shape.parts] for shape in shapes]


def _draw(canvas: np.ndarray, outline: list[np.ndarray], colour: tuple[float, ...], width: float) -> None:
    """Fill the polygons, or draw curves of `width` pixels if it is not 0."""
    if width:
        cv2.polylines(canvas, outline, False, colour, max(1, round(width)), cv2.LINE_8, _SHIFT)
    else:
        cv2.fillPoly(canvas, outline, colour, cv2.LINE_8, _SHIFT)


def _shade(relief: Relief, pose: Pose, light: Light, height: int, width: int) -> np.ndarray:
    """Lambert's law on the relief: the share of light that each pixel returns. (height, width) float32.

    A Gaussian bump is a product of a function of x and one of y, so that the surface and its slopes on a whole grid are
    three small matrix products.
    """
    centre = _turn(relief.centre, pose)
    away = (_GRID - centre[:, :, None]) / relief.spread[:, :, None]  # (K, 2, grid)
    bump = np.exp(-0.5 * away**2)
    slope = -away / relief.spread[:, :, None] * bump
    across, down = bump[:, 0], bump[:, 1]
    slope_x = (down.T * relief.height) @ slope[:, 0] - (0.75 * _GRID + 0.35 * _GRID**3)
    slope_y = (slope[:, 1].T * relief.height) @ across - (0.3 * _GRID + 0.15 * _GRID**3)[:, None]
    hollow = (down.T * relief.shadow) @ across
    lambert = light.direction[2] - light.direction[0] * slope_x - light.direction[1] * slope_y
    lambert /= np.sqrt(1.0 + slope_x**2 + slope_y**2)
    shade = (light.ambient + (1.0 - light.ambient) * lambert.clip(0.0)) * (1.0 - hollow)
    step = pose.affine[:, :2] * (_GRID[1] - _GRID[0])  # pixels from one grid point to the next
    first = pose.affine[:, :2] @ (_GRID[0], _GRID[0]) + pose.affine[:, 2] - 0.5
    to_picture = np.column_stack([step, first])
    return cv2.warpAffine(shade.astype(np.float32), to_picture, (width, height), borderMode=cv2.BORDER_REPLICATE)


def _background(rng: np.random.Generator, height: int, width: int, things: int = 4) -> np.ndarray:
    """Tones that run into each other, and fewer than `things` panels, rods and discs. (height, width) uint8."""
    canvas = _patches(rng, height, width, 20, 236)
    for _ in range(rng.integers(things)):
        centre = rng.uniform(0, (width, height)).tolist()
        extent = (rng.uniform(0.02, 0.5, 2) * min(height, width)).tolist()
        tone = float(rng.uniform(10, 245))
        if rng.uniform() < 0.3:
            cv2.ellipse(canvas, (centre, extent, 0.0), tone, -1)
        else:
            angle = rng.uniform(0, 90) if rng.uniform() < 0.3 else 0.0
            corners = cv2.boxPoints((centre, extent, angle))
            cv2.fillPoly(canvas, [np.rint(corners).astype(np.int32)], tone)
    return canvas


def _patches(rng: np.random.Generator, height: int, width: int, low: int, high: int) -> np.ndarray:
    """A few tones of low to high - 1 that run into each other. (height, width) uint8."""
    coarse = rng.integers(low, high, tuple(rng.integers(2, 6, 2)), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def _occlude(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Cover a part of the picture, as a hand, a cup or a strand of hair does."""
    size = picture.shape[0]
    centre, extent = size * rng.uniform(0.1, 0.9, 2), size * rng.uniform(0.12, 0.4, 2)
    cv2.ellipse(picture, (centre.tolist(), extent.tolist(), rng.uniform(0, 180)), rng.uniform(20, 235), -1)


def _expose(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Exposure, gamma, blur and noise of a camera. (H, W) float32 of 0 to 255 to uint8."""
    picture = cv2.GaussianBlur(picture.clip(0.0, 255.0), (0, 0), rng.uniform(0.2, 0.9))
    picture **= rng.uniform(0.7, 1.3)
    picture *= rng.uniform(90, 150) / picture.mean()
    picture += rng.uniform(1, 7) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.rint(picture).clip(0, 255).astype(np.uint8)
