"""fer split: what belongs together stays together, shares and classes are in proportion, every error is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fercli.errors import DataError, UsageError
from fercli.ops.partition import assign, codes, connected
from fercli.stages.runner import Log
from fercli.stages.split import SplitSpec, run
from fercli.store import create_store, objects, open_store

CLASSES = ("angry", "happy", "sad")


class Notes:
    """An interface that keeps what it is told."""

    def __init__(self):
        self.notes, self.rows, self.done = [], 0, 0

    def note(self, text):
        self.notes.append(text)

    def total(self, rows):
        self.rows = rows

    def advance(self, rows):
        self.done += rows


# --- groups ---------------------------------------------------------------------------------------------------------

keys_of_rows = st.integers(1, 25).flatmap(
    lambda rows: st.lists(
        st.lists(st.integers(-1, 6), min_size=rows, max_size=rows).map(np.array), min_size=0, max_size=3
    ).map(lambda keys: (keys, rows))
)


def slow_connected(keys, rows):
    group = list(range(rows))
    for _ in range(rows):
        for key in keys:
            for a in range(rows):
                for b in range(rows):
                    if key[a] == key[b] >= 0:
                        group[a] = group[b] = min(group[a], group[b])
    return group


@given(keys_of_rows)
def test_groups_are_the_connected_rows(pair):
    keys, rows = pair
    fast, slow = connected(keys, rows), slow_connected(keys, rows)
    assert sorted(set(fast.tolist())) == list(range(len(set(slow))))
    assert len(set(zip(fast.tolist(), slow, strict=True))) == len(set(slow))  # the same rows under other numbers


def test_codes_are_equal_where_values_are():
    assert codes(objects(["b", "", "a", "b", ""])).tolist() == [2, -1, 1, 2, -1]
    digests = np.array([[1, 2], [0, 9], [1, 2]], np.uint8)
    assert codes(digests).tolist() == [1, 0, 1]


# --- assignment -----------------------------------------------------------------------------------------------------

groups_and_strata = st.integers(1, 80).flatmap(
    lambda rows: st.tuples(
        st.lists(st.integers(0, 30), min_size=rows, max_size=rows),
        st.lists(st.integers(0, 3), min_size=rows, max_size=rows),
    )
)
some_shares = st.sampled_from([(0.8, 0.1, 0.1), (0.7, 0.3, 0.0), (0.0, 0.5, 0.5), (1 / 3,) * 3, (0.2,) * 5])


def numbered(values):
    return np.unique(values, return_inverse=True)[1].reshape(-1)


@given(groups_and_strata, some_shares, st.integers(0, 3))
def test_groups_stay_whole_and_the_rest_is_a_function_of_the_seed(pair, shares, seed):
    groups, strata = numbered(pair[0]), np.array(pair[1])
    side = assign(groups, strata, shares, seed)
    assert len(set(zip(groups.tolist(), side.tolist(), strict=True))) == groups.max() + 1
    assert all(shares[one] > 0 for one in set(side.tolist()))
    assert (assign(groups, strata, shares, seed) == side).all()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=120), some_shares, st.integers(0, 3))
def test_single_rows_miss_no_target_by_a_row(strata, shares, seed):
    strata = np.array(strata)
    side = assign(np.arange(len(strata)), strata, shares, seed)
    for stratum in set(strata.tolist()):
        there = np.bincount(side[strata == stratum], minlength=len(shares))
        assert (np.abs(there - np.array(shares) * (strata == stratum).sum()) < 1).all()


@given(groups_and_strata, st.integers(2, 12))
def test_no_fold_is_empty_while_there_are_groups(pair, folds):
    groups, strata = numbered(pair[0]), np.array(pair[1])
    side = assign(groups, strata, (1 / folds,) * folds, 0)
    assert len(set(side.tolist())) == min(folds, groups.max() + 1)


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.1,) * 10])
def test_people_with_many_pictures_come_out_near_the_shares(shares):
    """120 people of 1 to 15 pictures each, of seven classes of unequal number: as CK+ is."""
    rng = np.random.default_rng(7)
    groups = np.repeat(np.arange(120), rng.integers(1, 16, 120))
    strata = rng.choice(7, len(groups), p=[0.3, 0.2, 0.15, 0.15, 0.1, 0.06, 0.04])
    side = assign(groups, strata, shares, 0)
    assert np.abs(np.bincount(side) / len(side) - shares).max() < 0.01
    for stratum in range(7):
        there = np.bincount(side[strata == stratum], minlength=len(shares)) / (strata == stratum).sum()
        assert np.abs(there - shares).max() < 0.06


def test_the_seed_changes_who_goes_where_but_not_how_many():
    strata = np.repeat([0, 1], [70, 30])
    one, other = (assign(np.arange(100), strata, (0.8, 0.1, 0.1), seed) for seed in (0, 1))
    assert (one != other).any()
    assert np.bincount(one).tolist() == np.bincount(other).tolist() == [80, 10, 10]


def test_no_rows_are_no_sides():
    assert assign(np.zeros(0, np.int64), np.zeros(0, np.int64), (0.5, 0.5), 0).tolist() == []


# --- the stage ------------------------------------------------------------------------------------------------------


def write(path, label, *, classes=CLASSES, document=None, without=(), **columns):
    rows = len(label)
    block = {
        "image": np.arange(rows * 4).astype(np.uint8).reshape(rows, 2, 2),
        "label": np.array(label, np.int16),
        "digest": np.arange(rows * 16, dtype=">u2").view(np.uint8).reshape(rows, 32)[:, :16],
        "source": objects(f"face {row}" for row in range(rows)),
        **{name: objects(values) if isinstance(values[0], str) else values for name, values in columns.items()},
    }
    with create_store(path) as writer:
        writer.start("samples", classes, ("gray",))
        writer.append({name: values for name, values in block.items() if name not in without})
        if document is not None:
            writer.document("augment", document)
    return str(path)


def split(source, target, interface=None, **settings):
    with open_store(source) as src, create_store(target) as dst:
        run(src, dst, SplitSpec(**settings), Log(interface=interface))
    with open_store(target) as out:
        return {name: out.column(name) for name in out.columns}


def told(error, call):
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def test_default_shares_by_class(tmp_path):
    notes = Notes()
    source = write(tmp_path / "in.h5", [0] * 40 + [1] * 20 + [-1] * 10)
    out = split(source, tmp_path / "out.h5", notes)
    for label, expected in ((0, [32, 4, 4]), (1, [16, 2, 2]), (-1, [8, 1, 1])):
        assert np.bincount(out["split"][out["label"] == label]).tolist() == expected
    assert (notes.rows, notes.done, notes.notes) == (70, 70, [])


def test_everything_else_passes_through(tmp_path):
    recipe = {"rotation": 10.0}
    label = [0, 1, 2] * 10
    source = write(tmp_path / "in.h5", label, document=recipe, split=np.ones(30, np.int8), fold=np.ones(30, np.int16))
    out = split(source, tmp_path / "out.h5", train=0.5, test=0.5)
    with open_store(source) as before, open_store(tmp_path / "out.h5") as after:
        assert (before.classes, before.channels, before.columns) == (after.classes, after.channels, after.columns)
        assert after.documents["augment"] == recipe
        for name in set(before.columns) - {"split"}:
            assert (before.column(name) == out[name]).all()
    assert np.bincount(out["split"]).tolist() == [15, 0, 15]


def test_folds_are_written_beside_an_earlier_split(tmp_path):
    source = write(tmp_path / "in.h5", [0, 1, 2] * 10, split=np.ones(30, np.int8))
    out = split(source, tmp_path / "out.h5", folds=5)
    assert (out["split"] == 1).all()
    assert np.bincount(out["fold"]).tolist() == [6] * 5
    for label in range(3):
        assert np.bincount(out["fold"][out["label"] == label]).tolist() == [2] * 5


def test_the_same_command_gives_the_same_bytes(tmp_path):
    source = write(tmp_path / "in.h5", [0, 1, 2] * 20)
    for name in ("a.h5", "b.h5"):
        split(source, tmp_path / name, seed=3)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_copies_and_photos_with_several_faces_stay_on_one_side(tmp_path):
    digest = np.zeros((60, 16), np.uint8)
    digest[:, 0] = np.arange(60) // 2  # each picture twice, and in each six rows photos that join two pictures
    photo = [f"{row // 6}-{(row % 6 + 1) // 2}.jpg" for row in range(60)]
    source = write(tmp_path / "in.h5", [0, 1, 2] * 20, digest=digest, source=photo)
    out = split(source, tmp_path / "out.h5", train=0.5, test=0.5)
    sixes = zip(np.arange(60) // 6, out["split"].tolist(), strict=True)
    assert len(set(sixes)) == 10
    assert np.bincount(out["split"]).tolist() == [30, 0, 30]


people = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 4), st.integers(0, 60), st.integers(-1, 2)), min_size=12, max_size=60
)


@given(people, st.sampled_from(["image", "sequence", "subject"]))
def test_nothing_that_belongs_together_is_parted(rows, by):
    """Rows of (subject, clip, picture, label); clips are named alike for all, and clip 0 is none."""
    columns = {
        "label": np.array([row[3] for row in rows], np.int16),
        "subject": objects(f"S{row[0]}" for row in rows),
        "sequence": objects(f"{row[1]:03}" if row[1] else "" for row in rows),
        "digest": np.array([[row[2]] * 16 for row in rows], np.uint8),
    }
    out = Memory.split(columns, by=by, train=0.5, test=0.5)
    belongs = {
        "image": lambda row: [row[2]],
        "sequence": lambda row: [row[2]] + ([(row[0], row[1])] if row[1] else []),
        "subject": lambda row: [row[2], f"S{row[0]}"],
    }[by]
    if out is None:
        assert joined(set(belongs(row)) for row in rows) == 1
        return
    sides = {}
    for row, side in zip(rows, out.tolist(), strict=True):
        for group in belongs(row):
            assert sides.setdefault(group, side) == side


def joined(groups):
    """How many groups are left when those with something in common are one."""
    found = []
    for one in groups:
        found = [other for other in found if not other & one] + [one.union(*(other for other in found if other & one))]
    return len(found)


class Memory:
    """A reader and a writer over columns in memory, for many small runs."""

    name, kind, classes, channels, documents = "in.h5", "samples", CLASSES, (), {}

    def __init__(self, columns):
        self.values, self.columns, self.rows = columns, tuple(columns), len(columns["label"])

    def column(self, name):
        return self.values[name]

    def blocks(self, columns):
        yield {name: self.values[name] for name in columns}

    def start(self, *_):
        self.written = []

    def append(self, block):
        self.written.append(block["split"])

    @classmethod
    def split(cls, columns, **settings):
        """The column split; None where a side would be empty."""
        store = cls(columns)
        try:
            run(store, store, SplitSpec(**settings), Log())
        except DataError as error:
            assert "would be empty" in str(error)  # noqa: PT017
            return None
        return np.concatenate(store.written)


def test_a_side_that_lacks_a_class_is_told(tmp_path):
    notes = Notes()
    label = [0, 0, 0, 0, 1, 1]
    source = write(tmp_path / "in.h5", label, subject=["A", "A", "B", "B", "B", "A"])
    split(source, tmp_path / "a.h5", notes, by="subject", folds=2)
    assert notes.notes == []
    source = write(tmp_path / "in.h5", label, subject=["A", "A", "A", "B", "B", "B"], without=["digest"])
    split(source, tmp_path / "b.h5", notes, by="subject", folds=2)
    assert notes.notes == [
        f"{source} has no digests, so exact copies of a picture are not kept together",
        "fold 0 has no row of happy",
    ]


def test_one_fold_a_person(tmp_path):
    subject = [f"S{row // 3}" for row in range(30)]
    out = split(write(tmp_path / "in.h5", [0, 0, 1] * 10, subject=subject), tmp_path / "out.h5", by="subject", folds=10)
    assert len(set(zip(subject, out["fold"].tolist(), strict=True))) == len(set(out["fold"].tolist())) == 10


@pytest.mark.parametrize(
    ("store", "settings", "message"),
    [
        ({"label": []}, {}, "{path} holds no rows to share out"),
        (
            {},
            {"by": "subject"},
            "{path} does not tell the subject of its rows: ingest it by a layout that does, or use --by image",
        ),
        (
            {"sequence": ["1"] * 6},
            {"by": "subject"},
            "{path} does not tell the subject of its rows: ingest it by a layout that does, or use --by sequence",
        ),
        (
            {},
            {"by": "sequence"},
            "{path} does not tell the sequence of its rows: ingest it by a layout that does, or use --by image",
        ),
        (
            {"subject": ["A", "", "B", "", "C", "C"]},
            {"by": "subject"},
            "{path} does not tell the subject of 2 of its rows (the first is row 1), "
            "and they may show anyone: use --by image, or leave them out",
        ),
        (
            {"label": [0, 0, 0, 0, 1, 1]},
            {"folds": 3},
            "{path} has 2 different pictures of class 'happy', fewer than 3 folds: use at most --folds 2",
        ),
        (
            {"label": [0, 0, 0, 1, 1, 2]},
            {"folds": 3},
            "{path} has 1 different picture of class 'sad', fewer than 3 folds: "
            "ingest more pictures of it, or the data without it",
        ),
        (
            {"label": [0] * 6, "digest": np.zeros((6, 16), np.uint8)},
            {"folds": 3},
            "{path} has 1 different picture, fewer than 3 folds: ingest more pictures",
        ),
        (
            {"subject": ["A"] * 6},
            {"folds": 3, "by": "subject"},
            "{path} has 1 subject, fewer than 3 folds: use --by image",
        ),
        (
            {"label": [0, 0, 0, 0, 0, 0], "digest": np.repeat(np.eye(2, 16, dtype=np.uint8), 3, axis=0)},
            {"folds": 3},
            "{path} has 2 different pictures, fewer than 3 folds: use at most --folds 2",
        ),
        (
            {"subject": ["A", "A", "A", "B", "B", "B"]},
            {"folds": 3, "by": "subject"},
            "{path} has 2 subjects, fewer than 3 folds: use at most --folds 2",
        ),
        (
            {"sequence": ["A"] * 6},
            {"by": "sequence"},
            "val would be empty: {path} has 1 sequence, too few or too large for a share of 0.1",
        ),
    ],
)
def test_what_cannot_be_shared_out_is_told(tmp_path, store, settings, message):
    path = write(tmp_path / "in.h5", **{"label": [0, 1, 2] * 2, **store})
    assert told(DataError, lambda: split(path, tmp_path / "out.h5", **settings)) == message.format(path=path)
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"train": 0.8, "val": 0.1, "test": 0.2},
            "--train 0.8, --val 0.1, --test 0.2 sum to 1.1, and shares sum to 1",
        ),
        ({"train": 0.8}, "--train 0.8, --val 0, --test 0 sum to 0.8, and shares sum to 1"),
        (
            {"folds": 5, "test": 0.1},
            "--folds makes folds of equal size: leave out --train, --val and --test, or --folds",
        ),
        ({"folds": 1}, "--folds is 1, but it takes 2 to 10000"),
        ({"val": 1.5}, "--val is 1.5, but it takes 0 to 1"),
    ],
)
def test_settings_that_contradict_each_other_are_told(settings, message):
    assert told(UsageError, lambda: SplitSpec(**settings)) == message


def test_shares_that_sum_to_one_but_for_rounding_are_taken():
    assert SplitSpec(train=0.7, val=0.2, test=0.1).shares() == (0.7, 0.2, 0.1)
    assert SplitSpec(train=0.9, val=0.1).shares() == (0.9, 0.1, 0.0)
    assert SplitSpec().shares() == (0.8, 0.1, 0.1)
