"""Every published order of emotions, against the numbers that the data sets print."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fercli import labels
from fercli.errors import DataError

names = st.lists(st.sampled_from([*labels.EMOTIONS_CONTEMPT, "bored", "tired", "zen"]), max_size=12)
distinct = names.map(lambda found: list(dict.fromkeys(found)))


@pytest.mark.parametrize(
    ("codes", "printed"),
    [
        (labels.FER2013_CODES, "0 angry 1 disgust 2 fear 3 happy 4 sad 5 surprise 6 neutral"),
        (labels.EXPW_CODES, "0 angry 1 disgust 2 fear 3 happy 4 sad 5 surprise 6 neutral"),
        (labels.CKPLUS_CODES, "0 neutral 1 anger 2 contempt 3 disgust 4 fear 5 happy 6 sadness 7 surprise"),
        (labels.RAFDB_CODES, "1 surprise 2 fear 3 disgust 4 happiness 5 sadness 6 anger 7 neutral"),
        (labels.AFFECTNET_CODES, "0 neutral 1 happy 2 sad 3 surprise 4 fear 5 disgust 6 anger 7 contempt"),
        (labels.JAFFE_CODES, "AN angry DI disgust FE fear HA happy SA sad SU surprise NE neutral"),
        (labels.KDEF_CODES, "AN angry DI disgusted AF afraid HA happy SA sad SU surprised NE neutral"),
    ],
)
def test_published_codes(codes, printed):
    words = printed.split()
    keys = [int(word) if word.isdigit() else word for word in words[::2]]
    assert codes == dict(zip(keys, map(labels.canonical, words[1::2]), strict=True))


def test_the_order_of_this_package_is_that_of_fer2013():
    assert tuple(labels.FER2013_CODES[code] for code in range(7)) == labels.EMOTIONS
    assert (*labels.EMOTIONS, "contempt") == labels.EMOTIONS_CONTEMPT


def test_folders_that_sort_by_alphabet_come_back_in_that_order():
    """Mirrors of FER2013 as folders put neutral before sad: code 4 of theirs is not code 4 of the csv."""
    folders = sorted(labels.EMOTIONS)
    assert folders == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    assert labels.ordered(folders) == labels.EMOTIONS
    assert labels.translation(folders, labels.EMOTIONS) == [0, 1, 2, 3, 6, 4, 5]


def test_the_vote_columns_of_ferplus():
    printed = "neutral happiness surprise sadness anger disgust fear contempt"
    assert " ".join(labels.FERPLUS_COLUMNS) == printed
    assert set(map(labels.canonical, labels.FERPLUS_COLUMNS)) == set(labels.EMOTIONS_CONTEMPT)


def test_the_vote_columns_of_the_real_file(shared_data):
    with open(shared_data / "fer2013new.csv", newline="") as file:
        header = next(csv.reader(file))
    assert tuple(header[2:]) == (*labels.FERPLUS_COLUMNS, "unknown", "NF")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Anger", "angry"), (" HAPPINESS ", "happy"), ("sadness", "sad"), ("Surprised", "surprise"),
        ("fearful", "fear"), ("afraid", "fear"), ("disgusted", "disgust"), ("joy", "happy"), ("Neutral", "neutral"),
        ("contemptuous", "contempt"), ("Bored", "bored"), ("", ""),
    ],
)  # fmt: skip
def test_other_ways_to_write_an_emotion(written, name):
    assert labels.canonical(written) == name


@given(st.text(max_size=12))
def test_the_canonical_name_of_a_canonical_name_is_itself(name):
    once = labels.canonical(name)
    assert labels.canonical(once) == once


@given(names)
def test_ordered_is_a_fixed_order_of_the_distinct_names(found):
    result = labels.ordered(found)
    assert sorted(result) == sorted(set(found))
    assert labels.ordered(result[::-1]) == result
    known = [name for name in result if name in labels.EMOTIONS_CONTEMPT]
    assert list(result[: len(known)]) == known == sorted(known, key=labels.EMOTIONS_CONTEMPT.index)
    assert list(result[len(known) :]) == sorted(result[len(known) :])


@given(distinct, st.randoms())
def test_translation_is_by_name(source, random):
    target = [*source, "more"]
    random.shuffle(target)
    assert [target[code] for code in labels.translation(source, target)] == source


def test_a_class_that_is_missing_is_reported():
    with pytest.raises(DataError) as error:
        labels.translation(("angry", "bored", "happy", "zen"), ("happy", "angry"))
    assert str(error.value) == "no class 'bored', 'zen' among happy, angry"


def test_an_accent_has_one_form():
    assert labels.canonical("U\u0308berrascht") == labels.canonical("\u00dcberrascht") == "\u00fcberrascht"
