"""Options declared once: what a Spec takes and refuses, in whole sentences."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fercli.errors import UsageError
from fercli.spec import Spec, flag_of, is_multiple, nearest, option, value_type


@dataclasses.dataclass(frozen=True)
class Oven(Spec):
    """Settings of an oven."""

    heat: int = option(180, "Degrees.", low=50, high=250)
    share: float = option(0.5, "Share of the fan.", low=0, high=1)
    floor: float = option(0.0, "Lowest heat.", low=-273.15)
    most: float | None = option(None, "Most heat.", high=300)
    batch_size: int | None = option(None, "Loaves.", low=1)
    mode: str = option("bake", "What it does.", choices=("bake", "grill", "steam"))
    light: bool = option(False, "Light.")
    racks: tuple[int, ...] = option((), "Racks in use.", low=1, high=4)
    marks: tuple[str, ...] = option(("a", "b"), "Marks.")


refused = [
    ({"heat": 49}, "--heat is 49, but it takes 50 to 250"),
    ({"heat": 251}, "--heat is 251, but it takes 50 to 250"),
    ({"heat": 180.0}, "--heat is 180.0, but it takes a whole number"),
    ({"heat": True}, "--heat is True, but it takes a whole number"),
    ({"heat": "180"}, "--heat is '180', but it takes a whole number"),
    ({"share": -0.1}, "--share is -0.1, but it takes 0 to 1"),
    ({"share": math.nan}, "--share is nan, but it takes 0 to 1"),
    ({"share": False}, "--share is False, but it takes a number"),
    ({"share": "half"}, "--share is 'half', but it takes a number"),
    ({"floor": -300}, "--floor is -300.0, but it takes at least -273.15"),
    ({"floor": -math.inf}, "--floor is -inf, but it takes at least -273.15"),
    ({"most": 301.0}, "--most is 301.0, but it takes at most 300"),
    ({"batch_size": 0}, "--batch-size is 0, but it takes at least 1"),
    ({"mode": "gril"}, "--mode is 'gril'; did you mean 'grill'?"),
    ({"mode": "freeze!"}, "--mode is 'freeze!'; known: bake, grill, steam"),
    ({"mode": 3}, "--mode is 3, but it takes a word"),
    ({"light": 1}, "--light is 1, but it takes true or false"),
    ({"light": "yes"}, "--light is 'yes', but it takes true or false"),
    ({"racks": (1, 5)}, "--racks is 5, but it takes 1 to 4"),
    ({"racks": ("1",)}, "--racks is '1', but it takes a whole number"),
    ({"marks": (1,)}, "--marks is 1, but it takes a word"),
    ({"marks": "ab"}, "--marks is 'ab', but it takes a list"),
    ({"racks": (None,)}, "--racks is None, but it takes a whole number"),
    ({"heat": None}, "--heat is None, but it takes a whole number"),
    ({"floor": math.inf}, "--floor is inf, but it takes a finite number"),
]


@pytest.mark.parametrize(("settings", "text"), refused)
def test_refused(settings, text):
    with pytest.raises(UsageError) as error:
        Oven(**settings)
    assert str(error.value) == text
    with pytest.raises(UsageError) as error:
        Oven.from_mapping(settings, "recipe x")
    assert str(error.value) == text


@given(st.integers())
def test_a_number_is_taken_exactly_within_its_bounds(heat):
    if 50 <= heat <= 250:
        assert Oven(heat=heat).heat == heat
    else:
        with pytest.raises(UsageError):
            Oven(heat=heat)


@given(st.floats())
def test_a_share_is_taken_exactly_within_its_bounds(share):
    if 0 <= share <= 1:
        assert Oven(share=share).share == share
    else:
        with pytest.raises(UsageError):
            Oven(share=share)


def test_bounds_belong_to_the_range():
    low, high = Oven(heat=50, share=0.0, racks=(1, 4)), Oven(heat=250, share=1.0, most=300.0)
    assert (low.heat, low.share, low.racks) == (50, 0, (1, 4))
    assert (high.heat, high.share, high.most) == (250, 1, 300)


def test_a_whole_number_is_the_same_setting_as_its_float():
    assert Oven(floor=1).as_dict() == Oven(floor=1.0).as_dict()
    assert isinstance(Oven(floor=1).floor, float)


def test_an_optional_setting_may_be_none():
    assert (Oven().most, Oven(most=None).batch_size) == (None, None)


def test_a_recipe_gives_lists_where_a_spec_has_tuples():
    oven = Oven.from_mapping({"racks": [1, 2], "mode": "grill"}, "recipe x")
    assert oven == Oven(racks=(1, 2), mode="grill")
    assert hash(oven) == hash(Oven(racks=(1, 2), mode="grill"))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("haet", "recipe x has no setting 'haet'; did you mean 'heat'?"),
        ("batch-size", "recipe x has no setting 'batch-size'; did you mean 'batch_size'?"),
        (
            "zzz",
            "recipe x has no setting 'zzz'; known: heat, share, floor, most, batch_size, mode, light, racks, marks",
        ),
    ],
)
def test_an_unknown_key_is_refused(key, text):
    with pytest.raises(UsageError) as error:
        Oven.from_mapping({key: 1}, "recipe x")
    assert str(error.value) == text


def test_as_dict_is_what_makes_it_again():
    oven = Oven(heat=200, racks=(2,), marks=())
    assert Oven.from_mapping(oven.as_dict(), "recipe x") == oven
    assert list(oven.as_dict()) == [field.name for field in Oven.fields()]


def test_what_a_field_is():
    fields = {field.name: field for field in Oven.fields()}
    assert {name: value_type(field) for name, field in fields.items()} == {
        "heat": int, "share": float, "floor": float, "most": float, "batch_size": int, "mode": str, "light": bool,
        "racks": int, "marks": str,
    }  # fmt: skip
    assert [name for name, field in fields.items() if is_multiple(field)] == ["racks", "marks"]
    assert fields["heat"].metadata["help"] == "Degrees."
    assert flag_of("batch_size") == "--batch-size"


def test_nearest():
    assert nearest("hapy", ["happy", "sad"]) == "did you mean 'happy'?"
    assert nearest("q", ["happy", "sad"]) == "known: happy, sad"
