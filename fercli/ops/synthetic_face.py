"""The geometry of a parametric face: the outlines and the relief that follow from who it is and which muscles act.

Coordinates are face units: x to the right, y down, the origin between the eyes, the cheeks near x = -0.9 and 0.9, the
chin near y = 1.2. Tones are albedos of 0 (black) to 1 (white).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .synthetic_person import ActionUnits, Identity

#: Cr and Cb (ITU-R BT.601, 128 is gray) of what a photo in colour shows.
SKIN, LIPS, HAIR, GRAY = (150.0, 110.0), (160.0, 112.0), (133.0, 122.0), (128.0, 128.0)


class Shape(NamedTuple):
    """Polygons to fill (width 0) or curves to draw (width in face units), all of one tone and colour."""

    parts: tuple[np.ndarray, ...]  # each (n, 2) float, face units
    tone: float
    width: float = 0.0
    chroma: tuple[float, float] = SKIN


class Relief(NamedTuple):
    """The surface of the face as a sum of Gaussian bumps, one row each."""

    centre: np.ndarray  # (K, 2) face units
    spread: np.ndarray  # (K, 2) standard deviations
    height: np.ndarray  # (K,) towards the viewer
    shadow: np.ndarray  # (K,) share of the light that a hollow loses


class Face(NamedTuple):
    body: tuple[Shape, ...]  # what stands before the background: hair behind, clothes, neck, ears, head
    features: tuple[Shape, ...]  # what is drawn upon it, in order
    relief: Relief


def build_face(who: Identity, act: ActionUnits, gaze: float = 0.0) -> Face:
    """Outlines and relief of a person who shows `act`; `gaze` -1 to 1 turns the eyes left or right."""
    features = (
        *_folds(who, act), *_beard(who, act), *_brows(who, act), *_eyes(who, act, gaze), *_nose(who, act),
        *_mouth(who, act), *_hair(who), *_glasses(who),
    )  # fmt: skip
    return Face(_body(who, act), features, _relief(who, act))


_ANGLE = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
_COS, _SIN = np.cos(_ANGLE), np.sin(_ANGLE)
_DISC = np.stack([_COS, _SIN], axis=1)[::2]
_ACROSS = np.linspace(-1.0, 1.0, 15)  # from the left to the right end of an eye, the mouth or the hairline
_ALONG = np.linspace(0.0, 1.0, 7)  # from the inner to the outer end of a brow


def _points(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> np.ndarray:
    """(n, 2) from n x and n y."""
    return np.array((x, y), float).T


def _both(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A part of the right half of the picture and its mirror image."""
    return points, points * (-1.0, 1.0)


def _between(x: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """The polygon between two curves over the same x."""
    return np.concatenate([_points(x, upper), _points(x, lower)[::-1]])


def _jaw_open(act: ActionUnits) -> float:
    return 0.38 * act.jaw_drop


def _outline(who: Identity, act: ActionUnits) -> np.ndarray:
    """The head: half a superellipse above the eyes and half of another below them. (40, 2)."""
    below = _SIN > 0
    chin = who.chin + 0.1 + 0.6 * _jaw_open(act)
    x = np.sign(_COS) * np.abs(_COS) ** np.where(below, who.jaw, 0.8)
    y = np.where(below, chin, who.crown - 0.1) * _SIN
    return _points(who.head_width * x, y - 0.1)


def _body(who: Identity, act: ActionUnits) -> tuple[Shape, ...]:
    width = who.head_width
    shoulder = _points([0.0, 0.55, 1.15, 1.5, 1.7, 1.8], [1.4, 1.4, 1.55, 1.75, 2.2, 12.0])
    trunk = np.concatenate([shoulder, shoulder[::-1] * (-1.0, 1.0)])
    neck = _points([-0.55, 0.55, 0.62, 0.25, -0.25, -0.62], [0.6, 0.6, 1.5, 1.8, 1.8, 1.5])
    ear = _DISC * (0.11, 0.2) + (width * 0.99, 0.02)
    shapes = (
        Shape((trunk,), who.clothes, chroma=who.clothes_chroma),
        Shape((neck,), who.skin * 0.82),
        Shape(_both(ear), who.skin * 0.9),
        Shape((_outline(who, act),), who.skin),
    )
    if who.hair_length < 0:
        return shapes
    x = width * np.array([-1.0, -1.16, -1.18, -1.1, 1.1, 1.18, 1.16, 1.0])
    y = np.array([-0.8, -0.4, 0.3, who.hair_length, who.hair_length, 0.3, -0.4, -0.8])
    return (Shape((_points(x, y),), who.hair * 0.8, chroma=HAIR), *shapes)


def _hair(who: Identity) -> tuple[Shape, ...]:
    if who.hairline < -1.5:
        return ()
    cap = (_outline(who, ActionUnits())[_SIN <= 0] + (0.0, 0.1)) * (1.07, 1.08) - (0.0, 0.1)
    cap = cap[cap[:, 0].argsort()]
    x = who.head_width * _ACROSS[::-1]
    rise = 0.16 * np.exp(-(((_ACROSS[::-1] - who.parting) / 0.35) ** 2))
    y = who.hairline - rise + (0.5 - 0.1 * who.parting * _ACROSS[::-1]) * np.abs(_ACROSS[::-1]) ** 5
    return (Shape((np.concatenate([cap, _points(x, y)]),), who.hair, chroma=HAIR),)


def _beard(who: Identity, act: ActionUnits) -> tuple[Shape, ...]:
    shapes = []
    if who.beard:
        tone = who.skin * (1 - who.beard) + min(who.hair, who.skin) * who.beard
        lower = _outline(who, act)
        lower = lower[lower[:, 1] > 0.25]
        lower = lower[lower[:, 0].argsort()]
        y = who.mouth_y - 0.12 - 0.3 * np.abs(_ACROSS) ** 4
        shapes.append(Shape((np.concatenate([lower, _points(0.8 * _ACROSS, y)[::-1]]),), tone, chroma=HAIR))
    if who.moustache:
        tone = who.skin * (1 - who.moustache) + min(who.hair, who.skin) * who.moustache
        base = who.mouth_y - 0.04 - 0.1 * act.upper_lip_raiser
        x = 1.1 * who.mouth_width * _ACROSS
        upper = base - 0.13 * (1 - 0.7 * np.abs(_ACROSS))
        shapes.append(Shape((_between(x, upper, base + 0.05 * _ACROSS**2),), tone, chroma=HAIR))
    return tuple(shapes)


def _folds(who: Identity, act: ActionUnits) -> tuple[Shape, ...]:
    """Lines that the skin folds into: beside the mouth, between the brows, on the forehead and the nose."""
    smile = act.lip_corner_puller
    side = 0.06 + 0.2 * smile + 0.2 * act.upper_lip_raiser + 0.15 * act.nose_wrinkler
    reach = who.mouth_width * (1.15 + 0.35 * smile)
    cheek = _points([who.nose_width + 0.04, 0.6 * reach + 0.12, reach + 0.05], [0.33, 0.47, 0.72 - 0.05 * smile])
    frown = _points([0.06, 0.05, 0.07], [-0.45, -0.36, -0.26])
    raised = 0.5 * (act.inner_brow_raiser + act.outer_brow_raiser)
    forehead = [_points(0.42 * _ACROSS, y + 0.03 * _ACROSS**2) for y in (-0.72, -0.61)]
    bridge = (*_both(_points([0.04, 0.12], [-0.02, -0.1])), *_both(_points([0.05, 0.13], [0.07, -0.01])))
    return (
        Shape(_both(cheek), who.skin * (1 - side), 0.05),
        Shape(_both(frown), who.skin * (1 - 0.35 * act.brow_lowerer), 0.035),
        Shape(tuple(forehead), who.skin * (1 - 0.18 * raised), 0.03),
        Shape(bridge, who.skin * (1 - 0.35 * act.nose_wrinkler), 0.035),
    )


def _brow_line(who: Identity, act: ActionUnits) -> np.ndarray:
    """The middle line of the right brow, from its inner to its outer end. (7, 2)."""
    lowered = act.brow_lowerer + 0.5 * act.nose_wrinkler
    inner = 0.17 * act.inner_brow_raiser - 0.13 * lowered
    outer = 0.17 * act.outer_brow_raiser - 0.03 * lowered - 0.04 * act.inner_brow_raiser
    reach = 0.23 + 0.05 * act.brow_lowerer  # inwards
    x = who.eye_distance - reach + (reach + 0.26) * _ALONG
    lift = (1 - _ALONG) ** 1.5 * inner + _ALONG * outer + 4 * _ALONG * (1 - _ALONG) * who.brow_arch
    return _points(x, -0.1 - who.brow_height + who.brow_rest - lift)


def _brows(who: Identity, act: ActionUnits) -> tuple[Shape, ...]:
    line = _brow_line(who, act)
    half = 0.5 * who.brow_thickness * (1 - 0.65 * _ALONG**2)
    tone = who.skin * (1 - who.brow_contrast) + min(who.hair, 0.4 * who.skin) * who.brow_contrast
    return (Shape(_both(_between(line[:, 0], line[:, 1] - half, line[:, 1] + half)), tone, chroma=HAIR),)


def _eyes(who: Identity, act: ActionUnits, gaze: float) -> tuple[Shape, ...]:
    drop = 0.35 * act.lid_tightener + 0.2 * act.cheek_raiser + 0.15 * act.nose_wrinkler + 0.75 * act.eyes_closed
    up = 0.088 * who.eye_height * max(0.12, 1 + 0.75 * act.upper_lid_raiser - drop)
    rise = 0.6 * act.lid_tightener + 0.9 * act.cheek_raiser
    low = 0.05 * who.eye_height * max(0.2, 1 + 0.2 * act.upper_lid_raiser - rise)
    dome = (1 - _ACROSS**2) ** 0.8
    tilt = who.eye_tilt * who.eye_width * _ACROSS
    upper, lower = tilt - 0.1 - up * dome, tilt - 0.1 + low * dome
    x = who.eye_distance + who.eye_width * _ACROSS
    crease = upper - 0.055 + 0.02 * act.upper_lid_raiser
    white = Shape(_both(_between(x, upper, lower)), min(1.0, 0.55 + 0.4 * who.skin), chroma=GRAY)
    irises = []
    for side in (-1.0, 1.0):
        disc = _DISC * 0.088 + (side * who.eye_distance + 0.06 * gaze, -0.11)
        place = side * disc[:, 0]
        disc[:, 1] = np.clip(disc[:, 1], np.interp(place, x, upper), np.interp(place, x, lower))
        irises.append(disc)
    return (
        white,
        Shape(tuple(irises), who.iris * 0.6, chroma=HAIR),
        Shape(_both(_points(x, upper)), who.skin * 0.22, 0.045),
        Shape(_both(_points(x, lower)), who.skin * 0.6, 0.025),
        Shape(_both(_points(x, crease)[2:]), who.skin * 0.72, 0.03),
    )


def _nose(who: Identity, act: ActionUnits) -> tuple[Shape, ...]:
    lifted = 0.05 * act.nose_wrinkler
    width, base = who.nose_width * (1 + 0.15 * act.nose_wrinkler), who.nose_tip + 0.06 - lifted
    nostril = _DISC * (0.045, 0.025) + (0.5 * width, base)
    wing = _points([0.85 * width, width, 0.9 * width], [base - 0.13, base - 0.04, base + 0.02])
    return (
        Shape(_both(nostril), who.skin * 0.3),
        Shape(_both(wing), who.skin * (0.7 - 0.15 * act.nose_wrinkler), 0.035),
    )


def _mouth(who: Identity, act: ActionUnits) -> tuple[Shape, ...]:
    pull, gap = act.lip_corner_puller, _jaw_open(act)
    width = who.mouth_width * (1 + 0.35 * act.lip_stretcher + 0.3 * pull - 0.25 * act.jaw_drop * (1 - pull))
    corner = 0.15 * pull - 0.13 * act.lip_corner_depressor - 0.06 * act.lip_stretcher + who.corner_rest
    middle = who.mouth_y - 0.04 * act.chin_raiser + 0.3 * corner - corner * np.abs(_ACROSS) ** 1.6
    square = 0.2 * act.upper_lip_raiser + 0.4 * act.lip_stretcher + 0.15 * act.jaw_drop
    dome = (1 - _ACROSS**2) ** max(0.3, 0.8 - square)
    raised = 0.13 * act.upper_lip_raiser + 0.05 * act.nose_wrinkler
    upper = middle - (0.5 * raised + 0.3 * gap) * dome
    lower = middle + (gap + 0.04 * act.lip_stretcher) * dome
    thin = 1 - 0.75 * act.lip_pressor - 0.2 * act.lip_stretcher
    bow = 1 - 0.25 * np.exp(-((_ACROSS / 0.2) ** 2))
    top = upper - who.lip * max(0.15, thin) * dome * bow
    bottom = lower + 1.3 * who.lip * max(0.15, thin) * (1 + 0.3 * act.chin_raiser) * dome
    x = width * _ACROSS
    teeth = np.minimum(lower, upper + (0.13 - 0.1 * act.jaw_drop * (1 - pull)) * dome)
    return (
        Shape((_between(x, top, bottom),), who.skin * who.lip_tone, chroma=LIPS),
        Shape((_between(x, upper, lower),), 0.07, chroma=LIPS),
        Shape((_between(0.9 * x, upper, teeth),), 0.8, chroma=GRAY),
        Shape((_points(x, upper),), who.skin * (0.38 - 0.15 * act.lip_pressor), 0.03),
    )


def _glasses(who: Identity) -> tuple[Shape, ...]:
    if not who.glasses:
        return ()
    rim = _DISC * (0.29, 0.23) + (who.eye_distance, -0.06)
    bridge = _points([-0.13, 0.0, 0.13], [-0.1, -0.14, -0.1])
    temple = _points([who.eye_distance + 0.28, who.head_width], [-0.12, -0.12])
    rims = tuple(np.concatenate([part, part[:1]]) for part in _both(rim))
    return (Shape((*rims, bridge, *_both(temple)), who.glasses, 0.045, GRAY),)


def _relief(who: Identity, act: ActionUnits) -> Relief:
    brow = _brow_line(who, act)[2, 1]
    cheek = 0.5 * act.cheek_raiser + 0.5 * act.lip_corner_puller
    eye, tip, mouth = who.eye_distance, who.nose_tip, who.mouth_y
    single = [
        # x, y, spread x, spread y, height, shadow
        (0.0, 0.1, 0.10, 0.26, 0.20 * who.nose_height, 0.0),
        (0.0, tip, 0.12, 0.09, 0.16 * who.nose_height, 0.0),
        (0.0, tip + 0.14, 0.15, 0.05, 0.0, 0.22),
        (0.0, mouth, 0.3, 0.18, 0.08, 0.0),
        (0.0, mouth + 0.2 + _jaw_open(act), 0.2, 0.05, -0.04, 0.18),
        (0.0, who.chin - 0.14, 0.2, 0.12, 0.10 + 0.06 * act.chin_raiser, 0.0),
        (0.0, who.chin + 0.22, 0.6, 0.14, 0.0, 0.5),
        (0.0, -0.34, 0.08, 0.10, 0.05 * act.brow_lowerer, 0.0),
    ]
    paired = [
        (eye, brow + 0.02, 0.25, 0.08, 0.06 + 0.04 * act.brow_lowerer, 0.0),
        (eye, -0.12, 0.22, 0.12, -0.10, 0.3),
        (eye - 0.22, -0.14, 0.08, 0.12, -0.06, 0.25),
        (eye, -0.08, 0.13, 0.09, 0.06, 0.0),
        (0.52, 0.30 - 0.06 * cheek, 0.20, 0.17, 0.09 + 0.1 * cheek, -0.08),
        (who.nose_width * 0.8, tip + 0.02, 0.06, 0.07, 0.06, 0.0),
    ]
    table = np.array(single + paired + [(-x, *rest) for x, *rest in paired])
    return Relief(table[:, :2], table[:, 2:4], table[:, 4], table[:, 5])
