"""Emotion names and every published order of them: the only place where such an order is written.

Data sets number the same emotions differently, and a wrong order costs twenty points in silence, so inside a store
classes travel by name and two sets are aligned by name (`translation`).
"""

import unicodedata
from collections.abc import Sequence

from .errors import DataError

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
EMOTIONS_CONTEMPT = (*EMOTIONS, "contempt")

#: Published integer codes, name by code. FER2013: Goodfellow et al. 2013. CK+: Lucey et al. 2010. RAF-DB: Li et al.
#: 2017. AffectNet: Mollahosseini et al. 2017 (codes 8 to 10 are "none", "uncertain" and "no face": unlabelled).
#: ExpW: Zhang et al. 2015, the order of FER2013.
FER2013_CODES = dict(enumerate(EMOTIONS))
EXPW_CODES = FER2013_CODES
CKPLUS_CODES = dict(enumerate(("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")))
RAFDB_CODES = dict(enumerate(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), start=1))
AFFECTNET_CODES = dict(enumerate(("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")))
#: JAFFE (Lyons et al. 1998) and KDEF (Lundqvist et al. 1998) write the emotion as two letters in the file name.
JAFFE_CODES = {
    "AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy",
    "SA": "sad", "SU": "surprise", "NE": "neutral",
}  # fmt: skip
KDEF_CODES = {
    "AN": "angry", "DI": "disgust", "AF": "fear", "HA": "happy",
    "SA": "sad", "SU": "surprise", "NE": "neutral",
}  # fmt: skip
#: FER+ vote columns (Barsoum et al. 2016) that are emotions; "unknown" and "NF" (no face) follow them.
FERPLUS_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
#: What the codes of an attribute mean, in their order; those of others stay numbers. UTKFace: Zhang et al. 2017; RAF-DB
#: has the same two.
ATTRIBUTES = {"gender": ("male", "female")}

_SYNONYMS = {
    "anger": "angry", "angriness": "angry", "disgusted": "disgust", "afraid": "fear", "fearful": "fear",
    "happiness": "happy", "joy": "happy", "sadness": "sad", "surprised": "surprise", "neutrality": "neutral",
    "contemptuous": "contempt",
}  # fmt: skip


def canonical(name: str) -> str:
    """The name this package uses for an emotion written any common way; other names come back in lower case, and their
    accents in one form, where some systems have two.
    """
    name = unicodedata.normalize("NFC", name.strip().lower())
    return _SYNONYMS.get(name, name)


def ordered(names: Sequence[str]) -> tuple[str, ...]:
    """Distinct `names` with the known emotions first, in the order of `EMOTIONS_CONTEMPT`, and others sorted after."""
    found = set(names)
    known = tuple(name for name in EMOTIONS_CONTEMPT if name in found)
    return known + tuple(sorted(found - set(known)))


def translation(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """Index into `target` of each class of `source`, by name.

    Raises DataError that names the classes of `source` which `target` lacks: they are reported, never guessed.
    """
    missing = [name for name in source if name not in target]
    if missing:
        raise DataError(f"no class {', '.join(map(repr, missing))} among {', '.join(target)}")
    return [list(target).index(name) for name in source]
