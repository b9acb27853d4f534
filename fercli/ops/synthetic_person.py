"""Random persons and the strength of the facial muscles that make a perceived expression."""

from typing import NamedTuple

import numpy as np


class Identity(NamedTuple):
    """What stays the same from one picture of a person to the next. Lengths in face units, tones 0 to 1."""

    skin: float
    hair: float
    clothes: float
    clothes_chroma: tuple[float, float]
    head_width: float
    jaw: float  # exponent of the lower outline: small is square, large is pointed
    chin: float
    crown: float
    eye_distance: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    iris: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    brow_contrast: float
    nose_width: float
    nose_tip: float
    nose_height: float
    mouth_width: float
    mouth_y: float
    lip: float
    lip_tone: float
    hairline: float
    parting: float
    hair_length: float  # below 0 there is none behind the face
    beard: float  # 0 none, 1 as dark as the hair
    moustache: float
    glasses: float  # 0 none, else the tone of the frame
    brow_rest: float  # how far the brows rest below (over 0) or above the common height
    corner_rest: float  # how far the corners of the mouth rest above (over 0) or below its middle


class ActionUnits(NamedTuple):
    """Strength, 0 to about 1, of the facial action units of Ekman and Friesen (1978) that the face can show."""

    inner_brow_raiser: float = 0.0  # AU1
    outer_brow_raiser: float = 0.0  # AU2
    brow_lowerer: float = 0.0  # AU4
    upper_lid_raiser: float = 0.0  # AU5
    cheek_raiser: float = 0.0  # AU6
    lid_tightener: float = 0.0  # AU7
    nose_wrinkler: float = 0.0  # AU9
    upper_lip_raiser: float = 0.0  # AU10
    lip_corner_puller: float = 0.0  # AU12
    lip_corner_depressor: float = 0.0  # AU15
    chin_raiser: float = 0.0  # AU17
    lip_stretcher: float = 0.0  # AU20
    lip_pressor: float = 0.0  # AU24
    jaw_drop: float = 0.0  # AU26
    eyes_closed: float = 0.0  # AU43


#: The prototypes of each perceived expression, after the combinations of EMFACS (Friesen and Ekman 1983).
PROTOTYPES: dict[str, tuple[ActionUnits, ...]] = {
    "angry": (
        ActionUnits(brow_lowerer=1.0, upper_lid_raiser=0.3, lid_tightener=0.6, lip_pressor=1.0, chin_raiser=0.4),
        ActionUnits(
            brow_lowerer=1.0, upper_lid_raiser=0.5, lid_tightener=0.5, upper_lip_raiser=0.4, lip_stretcher=0.4,
            lip_corner_depressor=0.4, jaw_drop=0.35,
        ),
    ),
    "disgust": (
        ActionUnits(nose_wrinkler=1.0, upper_lip_raiser=1.0, brow_lowerer=0.4, cheek_raiser=0.4, lid_tightener=0.5),
        ActionUnits(
            nose_wrinkler=0.9, upper_lip_raiser=0.7, lip_corner_depressor=0.5, chin_raiser=0.5, lid_tightener=0.6
        ),
    ),
    "fear": (
        ActionUnits(
            inner_brow_raiser=1.0, outer_brow_raiser=0.4, brow_lowerer=0.3, upper_lid_raiser=1.0, lip_stretcher=0.8,
            jaw_drop=0.4,
        ),
        ActionUnits(
            inner_brow_raiser=0.9, outer_brow_raiser=0.3, brow_lowerer=0.4, upper_lid_raiser=0.8, lip_stretcher=1.0,
            jaw_drop=0.2,
        ),
    ),
    "happy": (
        ActionUnits(cheek_raiser=0.8, lip_corner_puller=1.0),
        ActionUnits(cheek_raiser=0.9, lip_corner_puller=1.0, upper_lip_raiser=0.3, jaw_drop=0.35),
    ),
    "sad": (
        ActionUnits(inner_brow_raiser=1.0, brow_lowerer=0.3, lip_corner_depressor=1.0, eyes_closed=0.3),
        ActionUnits(
            inner_brow_raiser=0.8, brow_lowerer=0.3, lip_corner_depressor=0.8, chin_raiser=0.8, eyes_closed=0.4
        ),
    ),
    "surprise": (
        ActionUnits(inner_brow_raiser=1.0, outer_brow_raiser=1.0, upper_lid_raiser=0.8, jaw_drop=1.0),
        ActionUnits(inner_brow_raiser=1.0, outer_brow_raiser=1.0, upper_lid_raiser=0.6, jaw_drop=0.65),
    ),
    "neutral": (ActionUnits(),),
}  # fmt: skip


def draw_identity(rng: np.random.Generator) -> Identity:
    """A random person."""
    u = rng.uniform
    skin = u(0.38, 0.88)
    has = rng.uniform(size=4)
    return Identity(
        skin=skin,
        hair=u(0.04, 0.3) if has[0] < 0.7 else u(0.3, 0.8),
        clothes=u(0.05, 0.9),
        clothes_chroma=(u(105, 150), u(105, 150)),
        head_width=u(0.84, 0.98),
        jaw=u(0.62, 1.0),
        chin=u(1.12, 1.3),
        crown=u(1.3, 1.5),
        eye_distance=u(0.37, 0.45),
        eye_width=u(0.17, 0.22),
        eye_height=u(0.8, 1.2),
        eye_tilt=u(-0.12, 0.1),
        iris=u(0.05, 0.35),
        brow_height=u(0.24, 0.32),
        brow_thickness=u(0.05, 0.11),
        brow_arch=u(0.0, 0.07),
        brow_contrast=u(0.35, 0.85),
        nose_width=u(0.13, 0.2),
        nose_tip=u(0.32, 0.42),
        nose_height=u(0.7, 1.3),
        mouth_width=u(0.27, 0.36),
        mouth_y=u(0.66, 0.76),
        lip=u(0.045, 0.09),
        lip_tone=u(0.6, 0.92),
        hairline=u(-1.0, -0.72) if has[1] > 0.1 else -1.6,
        parting=u(-0.8, 0.8),
        hair_length=u(0.3, 1.6) if rng.uniform() < 0.45 else -1.0,
        beard=u(0.2, 0.8) if has[2] < 0.18 else 0.0,
        moustache=u(0.3, 0.9) if has[2] < 0.25 and has[2] > 0.08 else 0.0,
        glasses=u(0.03, 0.4) if has[3] < 0.2 else 0.0,
        brow_rest=u(-0.05, 0.05),
        corner_rest=u(-0.03, 0.03),
    )


def draw_action_units(rng: np.random.Generator, expression: str) -> ActionUnits:
    """The action units of one of `EMOTIONS`, of random strength: weak ones lie close to those of other expressions."""
    prototypes = PROTOTYPES[expression]
    peak = np.asarray(prototypes[rng.integers(len(prototypes))])
    strength = rng.uniform(0.6, 1.15)
    each = 1.0 + 0.2 * rng.standard_normal(peak.size)
    stray = 0.06 * np.abs(rng.standard_normal(peak.size))
    return ActionUnits(*np.clip(strength * peak * each + stray, 0.0, 1.2).tolist())
