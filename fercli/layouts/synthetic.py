"""Drawn data: nothing is read. `synthetic:2000` is 2,000 faces, `synthetic:40:scenes` 40 photos of several people.

A picture depends on the seed and its own number alone, so the first rows of a longer set are those of a shorter one.
Ten pictures in a row show one person. Persons 0, 3, 4, ... 9 of every ten are for training, person 1 for validation and
person 2 for the test, so that no face crosses over and thirty pictures already have all three.
"""

import re
from collections.abc import Iterator
from functools import partial

import numpy as np

from ..errors import UsageError
from ..labels import EMOTIONS
from ..ops.image import encode
from ..ops.synthetic import draw_face, draw_scene
from ..ops.synthetic_person import draw_identity
from ..store import SPLIT_CODES, Block, objects
from .base import Options, Report, Table
from .source import SYNTHETIC, Source

NAME = "synthetic"
TITLE = "drawn faces (synthetic:COUNT) or photos of several (synthetic:COUNT:scenes); :seed=N draws others"
OPTIONS = ()

PER_PERSON = 10
_SIZE = 48
_FORM = re.compile(rf"{SYNTHETIC}([1-9][0-9]{{0,8}})(:scenes)?(?::seed=([0-9]{{1,9}}))?")
_SPLITS = ("train", "val", "test", *["train"] * 7)  # of person 0 to 9
_FACES, _SCENES = 512, 16  # rows in a block
_PERSON, _PICTURE, _SCENE = range(3)  # what a stream of random numbers is for


def matches(source: Source) -> bool:
    return source.path.startswith(SYNTHETIC)


def scan(source: Source, options: Options) -> Table:
    found = _FORM.fullmatch(source.path)
    if not found:
        raise UsageError(
            f"there is no data set {source.path!r} to draw: write synthetic:COUNT for faces or synthetic:COUNT:scenes "
            "for photos of several people, with COUNT from 1 to 999999999, and :seed=NUMBER at the end for other ones, "
            "as in synthetic:2000:seed=7"
        )
    count, seed = int(found[1]), int(found[3] or 0)
    if found[2]:
        return Table((), count, ("encoded", "height", "width"), partial(_scenes, count, seed))
    return Table(EMOTIONS, count, ("label", "split", "subject"), partial(_faces, count, seed))


def _faces(count: int, seed: int, report: Report) -> Iterator[Block]:
    for start in range(0, count, _FACES):
        index = np.arange(start, min(start + _FACES, count))
        person = index // PER_PERSON
        split = np.array([SPLIT_CODES[name] for name in _SPLITS], np.int8)
        yield {
            "image": np.stack([_face(seed, number) for number in index.tolist()]),
            "label": (index % len(EMOTIONS)).astype(np.int16),
            "split": split[person % len(_SPLITS)],
            "subject": objects(str(number) for number in person.tolist()),
            "source": objects(f"{SYNTHETIC}{number}" for number in index.tolist()),
        }


def _face(seed: int, index: int) -> np.ndarray:
    """Picture number `index` of a set: its person and its expression follow from the number. (48, 48) uint8."""
    identity = draw_identity(_random(seed, _PERSON, index // PER_PERSON))
    return draw_face(_random(seed, _PICTURE, index), EMOTIONS[index % len(EMOTIONS)], _SIZE, identity)


def _scenes(count: int, seed: int, report: Report) -> Iterator[Block]:
    for start in range(0, count, _SCENES):
        index = range(start, min(start + _SCENES, count))
        scenes = [draw_scene(_random(seed, _SCENE, number)).image for number in index]
        yield {
            "encoded": objects(encode(scene, ".jpg") for scene in scenes),
            "height": np.array([scene.shape[0] for scene in scenes], np.int32),
            "width": np.array([scene.shape[1] for scene in scenes], np.int32),
            "source": objects(f"{SYNTHETIC}scene:{number}" for number in index),
        }


def _random(seed: int, purpose: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, purpose, number]))
