"""The store's round trips, and every refusal with its whole sentence."""

import hashlib
import io
import itertools
import json
import os
import pty
import re
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fercli.store
from fercli.errors import DataError, UsageError
from fercli.store import block_rows, concatenate, create_store, is_store, objects, open_store, schema, take

from .stages import write_again
from .stores import CLASSES, entry, photos, samples, stdin_file, stdin_pipe, write

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# --- strategies: tables of any columns -------------------------------------------------------------------------------

plain_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
odd_names = st.sampled_from(["", "a\nb", "tab\there", "x" * 300, "ü/é.jpg", "\udcff\udc80.jpg", "émotion\udce9"])
texts = (
    plain_text
    | odd_names
    | st.binary(max_size=20).map(lambda b: b.replace(b"\0", b"").decode(errors="surrogateescape"))
)
floats = st.floats(-1e6, 1e6, width=32)


def rows_of(values, rows, dtype):
    return st.lists(values, min_size=rows, max_size=rows).map(lambda found: np.array(found, dtype))


def arrays(shape, values, dtype):
    size = int(np.prod(shape))
    return st.lists(values, min_size=size, max_size=size).map(lambda found: np.array(found, dtype).reshape(shape))


def column_values(name, rows, classes):
    """Values of a column of the format, drawn from all that it may hold."""
    declared = schema.column(name)
    if declared.dtype == "bytes":
        return st.lists(st.binary(max_size=30), min_size=rows, max_size=rows).map(objects)
    if declared.dtype == "string":
        return st.lists(texts, min_size=rows, max_size=rows).map(objects)
    shape = {"image": (3, 2), "hog": (5,)}.get(name)
    if shape is None:
        shape = tuple(classes if part == "K" else int(part) for part in declared.shape.split(",") if part)
    dtype = schema.NUMPY_TYPES[declared.dtype]
    if declared.dtype in ("float32", "float64"):
        return arrays((rows, *shape), floats, dtype)
    if declared.dtype == "bool":
        return arrays((rows, *shape), st.booleans(), dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if name in ("label", "predicted"):
        low, high = -1, classes - 1
    elif name == "split":
        low, high = 0, 2
    return arrays((rows, *shape), st.integers(low, high), dtype)


@st.composite
def tables(draw):
    """(classes, block) with any columns that may stand side by side."""
    classes = tuple(draw(st.lists(texts.filter(lambda name: len(name) < 50), unique=True, min_size=1, max_size=4)))
    rows = draw(st.integers(0, 9))
    names = draw(st.sets(st.sampled_from([*schema.COLUMNS, "attribute/age"]), min_size=1))
    if "encoded" in names:
        names = (names | {"height", "width"}) - {"image"}
    return classes, {name: draw(column_values(name, rows, len(classes))) for name in sorted(names)}


def same(found, expected):
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert found[name].shape == values.shape, name
        assert found[name].tolist() == values.tolist(), name


def pieces(block, cuts):
    """The block in pieces that end at `cuts`."""
    edges = [0, *sorted(cut for cut in cuts if cut <= block_rows(block)), block_rows(block)]
    return [take(block, slice(a, b)) for a, b in itertools.pairwise(edges)]


# --- round trips -----------------------------------------------------------------------------------------------------


@quick
@given(tables())
def test_what_is_written_is_read(tmp_path, table):
    classes, block = table
    path = write(tmp_path / "a.h5", block, classes=classes)
    with open_store(path) as store:
        assert (store.rows, store.classes, store.kind) == (block_rows(block), classes, "samples")
        assert set(store.columns) == set(block)
        for name, values in block.items():
            assert store.column(name).tolist() == values.tolist()
            assert store.shape(name) == values.shape[1:]
        blocks = list(store.blocks())
        if block_rows(block):
            same(concatenate(blocks), block)
        else:
            assert blocks == []


@quick
@given(tables(), st.lists(st.integers(0, 9), max_size=5), st.integers(1, 60), st.integers(1, 60))
def test_the_same_rows_give_the_same_bytes_however_they_are_cut(tmp_path, table, cuts, batch, chunk):
    classes, block = table
    with (
        mock.patch("fercli.store.write.BATCH_BYTES", batch),
        mock.patch("fercli.store.write._BATCH_ROWS", 1 + batch % 4),
        mock.patch("fercli.store.write.CHUNK_BYTES", chunk),
        mock.patch("fercli.store.part.BLOCK_BYTES", batch),
    ):
        whole = write(tmp_path / "whole.h5", block, classes=classes)
        cut = write(tmp_path / "cut.h5", *pieces(block, cuts), classes=classes)
        assert Path(whole).read_bytes() == Path(cut).read_bytes()
        with open_store(cut) as store:
            if block_rows(block):
                same(concatenate(store.blocks()), block)


@quick
@given(tables(), st.data())
def test_blocks_of_chosen_rows(tmp_path, table, data):
    classes, block = table
    count = block_rows(block)
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, count - 1)) if count else st.just(set()))), np.int64)
    start, stop = data.draw(st.tuples(st.integers(0, count), st.integers(0, count + 3)))
    with (
        mock.patch("fercli.store.part.BLOCK_BYTES", 40),
        open_store(write(tmp_path / "a.h5", block, classes=classes)) as store,
    ):
        found = list(store.blocks(rows=chosen))
        assert sum(map(block_rows, found)) == len(chosen)
        if found:
            same(concatenate(found), take(block, chosen))
        name = store.columns[0]
        assert store.column(name, start, stop).tolist() == block[name][start:stop].tolist()
        assert all(list(one) == [name] for one in store.blocks([name]))


def test_the_arrays_of_a_block_may_be_used_again(tmp_path):
    block = samples(1)
    with create_store(tmp_path / "a.h5") as store:
        store.start("samples", CLASSES, ("gray",))
        for row in range(5):
            block["image"][:] = row
            block["parent"][:] = row
            store.append(block)
    with open_store(tmp_path / "a.h5") as store:
        assert store.column("image")[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
        assert store.column("parent").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((2, 5, 4), ("gray",)), ((2, 5, 4, 3), ("red", "green", "blue")), ((2, 5, 4, 3), ("gray", "gx", "gy"))],
)
def test_channels(tmp_path, shape, channels):
    path = write(tmp_path / "a.h5", {"image": np.zeros(shape, np.uint8)}, channels=channels)
    with open_store(path) as store:
        assert (store.channels, store.shape("image")) == (channels, shape[1:])


def test_blocks_end_at_about_eight_megabytes(tmp_path):
    many = photos(*[b"x" * 3_000_000] * 4, b"y" * 9_000_000, b"", b"z")
    with open_store(write(tmp_path / "photos.h5", many)) as store:
        assert [block_rows(block) for block in store.blocks()] == [2, 2, 1, 2]
        assert [block_rows(block) for block in store.blocks(["height"])] == [7]
    with open_store(write(tmp_path / "dense.h5", {"image": np.zeros((200, 300, 300), np.uint8)})) as store:
        assert [block_rows(block) for block in store.blocks()] == [93, 93, 14]


def test_strings_widen_without_loss(tmp_path):
    names = ["", "a" * 16, "b" * 17, "c" * 4096, "d"]
    with mock.patch("fercli.store.write._BATCH_ROWS", 1):
        path = write(tmp_path / "a.h5", *[{"source": objects([name])} for name in names])
    with open_store(path) as store:
        assert store.column("source").tolist() == names


def test_documents_and_provenance(tmp_path):
    chain = [entry("ingest", spec={"layout": "\udcff"}), entry("detect")]
    path = write(tmp_path / "a.h5", samples(), documents={"augment": {"flip": [0, 1.5, None]}, "provenance": chain})
    with open_store(path) as store:
        assert store.provenance == chain
        assert store.documents == {"augment": {"flip": [0, 1.5, None]}, "provenance": chain}


def test_a_document_may_be_longer_than_an_attribute(tmp_path):
    with open_store(write(tmp_path / "a.h5", samples(), documents={"augment": ["x" * 200_000]})) as store:
        assert store.documents["augment"] == ["x" * 200_000]


def test_arrays_of_a_model(tmp_path):
    weights = {"weights/conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "weights/steps": np.array(7)}
    others = {"history/loss": np.array([0.5, 0.25]), "trained_on": np.zeros((0, 16), np.uint8)}
    path = write(tmp_path / "m.h5", kind="model", channels=("gray",), arrays={**weights, **others})
    with open_store(path, "model") as store:
        assert (store.rows, store.columns, store.channels) == (0, (), ("gray",))
        assert store.array_names() == {
            "weights/conv.weight": (2, 3), "weights/steps": (), "history/loss": (2,), "trained_on": (0, 16),
        }  # fmt: skip
        assert {name: values.tolist() for name, values in store.arrays("weights").items()} == {
            "conv.weight": [[0, 1, 2], [3, 4, 5]], "steps": 7,
        }  # fmt: skip
        assert store.arrays("state") == {}
        assert store.array("trained_on").shape == (0, 16)
        with pytest.raises(DataError, match=r"^\S+m\.h5 holds no weights/x: it is no model made by fer train$"):
            store.array("weights/x")


def test_after_a_restart_a_store_is_as_if_new(tmp_path):
    with create_store(tmp_path / "a.h5") as store:
        store.start("samples", ("x", "y", "z"), ("gray",))
        store.append(samples(5000))
        store.document("augment", {})
        store.restart()
        store.start("samples", CLASSES)
        store.append(photos(b"abc"))
    fresh = write(tmp_path / "b.h5", photos(b"abc"))
    assert (tmp_path / "a.h5").read_bytes() == Path(fresh).read_bytes()
    with open_store(fresh) as store:
        assert (store.rows, store.classes, store.channels) == (1, CLASSES, ())


def test_the_same_command_gives_the_same_bytes_at_another_time(tmp_path):
    def make(name):
        arrays = {"weights/a": np.ones(3), "history/loss": np.ones(2)}
        model = write(tmp_path / f"{name}.model", kind="model", arrays=arrays, documents={"model": {"a": 1}})
        rows = write(tmp_path / f"{name}.rows", samples() | {"attribute/age": np.zeros(6, np.int16)})
        return [Path(path).read_bytes() for path in (model, rows)]

    first = make("a")
    time.sleep(1.1)  # HDF5 notes times in whole seconds, where it is let
    assert make("b") == first


def test_digest_is_of_the_bytes(tmp_path):
    paths = [write(tmp_path / f"{seed}.h5", samples(seed=seed)) for seed in (1, 2)]
    hashes = [hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest() for path in paths]
    with open_store(paths) as store:
        assert store.digests == hashes
        assert store.digest == hashlib.blake2b("".join(hashes).encode(), digest_size=16).hexdigest()
    with open_store(paths[0]) as store:
        assert store.digest == hashes[0]
        assert store.column("parent").tolist() == [0, 1, 2, 3, 4, 5]  # reading goes on after it


@pytest.mark.parametrize("redirected", [False, True])
def test_a_store_that_changes_while_it_is_read(tmp_path, redirected):
    path = Path(write(tmp_path / "a.h5", samples()))
    name = "standard input" if redirected else str(path)

    def read(ask):
        with stdin_file(open(path, "rb")), open_store("-" if redirected else path) as store:
            made = store.digest
            write_again(path)
            assert not ask or store.digests == [made]

    for ask in (True, False):  # for the digest, and not before the end
        with pytest.raises(DataError) as error:
            read(ask)
        assert str(error.value) == f"{name} changed while it was read: type the same command again"


def test_a_store_whose_place_another_takes_is_read_to_its_end(tmp_path):
    path = write(tmp_path / "a.h5", samples())
    made = hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    with open_store(path) as store:
        write(path, samples(9, seed=2))
        same(concatenate(store.blocks()), samples())
        assert store.digest == made


# --- several stores as one -------------------------------------------------------------------------------------------


def test_several_stores_are_aligned_by_class_name(tmp_path):
    first = {"label": np.array([0, 1, -1], np.int16), "votes": np.eye(3, 2, dtype=np.float32)}
    second = {"label": np.array([-1, 0, 1], np.int16), "votes": np.array([[0, 0], [1, 0], [0, 1]], np.float32)}
    paths = [
        write(tmp_path / "a.h5", first | {"parent": np.arange(3)}, classes=("sad", "zeal")),
        write(tmp_path / "b.h5", second | {"parent": np.arange(3, 6)}, classes=("zeal", "angry")),
    ]
    with open_store(paths) as store:
        assert store.classes == ("angry", "sad", "zeal")
        assert (store.rows, store.name) == (6, f"{paths[0]} and 1 more")
        named = [(*store.classes, None)[code] for code in store.column("label")]
        assert named == ["sad", "zeal", None, None, "zeal", "angry"]
        assert store.column("votes").tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
        assert store.column("parent", 2, 5).tolist() == [2, 3, 4]
        assert store.column("parent", 9).tolist() == []
        chosen = concatenate(store.blocks(["label", "parent"], rows=np.array([1, 3, 5])))
        assert chosen["parent"].tolist() == [1, 3, 5]
        assert chosen["label"].tolist() == [2, -1, 0]


def test_chains_of_several_stores_follow_each_other_once(tmp_path):
    shared, left, right = entry("ingest"), entry("detect", key="l"), entry("detect", key="r")
    paths = [
        write(tmp_path / "a.h5", samples(), documents={"provenance": [shared, left]}),
        write(tmp_path / "b.h5", samples(), documents={"provenance": [shared, right]}),
    ]
    with open_store(paths) as store:
        assert store.provenance == [shared, left, right]


def unlike(tmp_path):
    """Pairs of stores that cannot be read as one, by what differs."""
    base, rgb = samples(), np.zeros((6, 4, 4, 3), np.uint8)
    without = {name: values for name, values in base.items() if name != "votes"}
    larger = base | {"image": np.zeros((6, 5, 5), np.uint8)}
    return {
        "columns": (write(tmp_path / "a.h5", base), write(tmp_path / "b.h5", without)),
        "channels": (write(tmp_path / "a.h5", base),
                     write(tmp_path / "c.h5", base | {"image": rgb}, channels=("red", "green", "blue"))),
        "shapes": (write(tmp_path / "a.h5", base), write(tmp_path / "d.h5", larger)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("columns", "b.h5 and a.h5 cannot be read as one: votes in one of them only"),
        ("channels", "c.h5 and a.h5 cannot be read as one: their channels are red, green, blue and gray; make them "
                     "alike with fer gradients"),
        ("shapes", "d.h5 and a.h5 cannot be read as one: rows of image have the shapes (5, 5) and (4, 4); bring the "
                   "images to one size with fer detect --detector none --size"),
    ],
)  # fmt: skip
def test_stores_that_cannot_be_read_as_one(tmp_path, what, text):
    with pytest.raises(DataError) as error, open_store(unlike(tmp_path)[what]):
        pass
    assert str(error.value).replace(f"{tmp_path}/", "") == text


def test_models_are_not_read_as_one(tmp_path):
    paths = [write(tmp_path / name, kind="model") for name in ("a.h5", "b.h5")]
    with pytest.raises(DataError, match=r"b\.h5 holds model and \S+a\.h5 holds model: name stores of rows$"):
        open_store(paths, "model").__enter__()


# --- what a store refuses to hold ------------------------------------------------------------------------------------

bad_blocks = {
    "a block's columns differ in length: label 2, parent 3": {
        "label": np.zeros(2, np.int16), "parent": np.zeros(3, np.int64),
    },
    "'colour' is no column of the store format": {"colour": np.zeros(2, np.int16)},
    "'attribute' is no column of the store format": {"attribute": np.zeros(2, np.int16)},
    "rows have the columns both image and encoded, and an image is either dense or a photo": {
        **photos(b"a", b"b"), "image": np.zeros((2, 4, 4), np.uint8),
    },
    "rows have the columns encoded without height and width": {"encoded": objects([b"a"])},
    "column label has the type int64 and rows of shape (): it holds int16 of shape one value a row": {
        "label": np.zeros(2, np.int64),
    },
    "column digest has the type uint8 and rows of shape (15,): it holds uint8 of shape 16 a row": {
        "digest": np.zeros((2, 15), np.uint8),
    },
    "column votes has the type float32 and rows of shape (4,): it holds float32 of shape K a row": {
        "votes": np.zeros((2, 4), np.float32),
    },
    "column image has the type uint8 and rows of shape (4, 4, 3) with channels gray: it holds uint8 of shape H,W[,C] "
    "a row": {"image": np.zeros((2, 4, 4, 3), np.uint8)},
    "column image has the type uint8 and rows of shape (4, 4, 1) with channels gray: it holds uint8 of shape H,W[,C] "
    "a row": {"image": np.zeros((2, 4, 4, 1), np.uint8)},
    "column image has the type uint8 and rows of shape (0, 4) with channels gray: it holds uint8 of shape H,W[,C] "
    "a row": {"image": np.zeros((2, 0, 4), np.uint8)},
    "label of row 3 lies outside the 3 classes: 3": {"label": np.array([0, 3], np.int16)},
    "predicted of row 2 lies outside the 3 classes: -2": {"predicted": np.array([-2, 3], np.int16)},
    "split of row 3 is none of train, val, test: 3": {"split": np.array([0, 3], np.int8)},
    "score of row 3 is not a finite number: nan": {"score": np.array([0, np.nan], np.float32)},
    "box of row 2 is not a finite number: 0, inf, 0, 1": {"box": np.array([[0, np.inf, 0, 1]] * 2, np.float32)},
    "source of row 3 is longer than 4,096 bytes": {"source": objects(["", "é" * 2049])},
    "source of row 2 holds a zero byte: 'a\\x00'": {"source": objects(["a\0", ""])},
    "source of row 2 is no valid text: '\\ud800'": {"source": objects(["\ud800", ""])},
}  # fmt: skip


@pytest.mark.parametrize("text", bad_blocks)
def test_a_bad_block_is_refused(tmp_path, text):
    block = bad_blocks[text]
    before = {name: np.zeros((2, *values.shape[1:]), values.dtype) for name, values in block.items()}
    if "source" in block:
        before["source"][:] = ""
    with pytest.raises(DataError) as error:  # rows are counted through all blocks
        write(tmp_path / "a.h5", *([before] if "of row" in text else []), block, channels=("gray",))
    assert str(error.value) == text
    assert list(tmp_path.iterdir()) == []


def test_rows_that_differ_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"^rows do not all have the same columns: parent in some of them only$"):
        write(
            tmp_path / "a.h5",
            {"label": np.zeros(2, np.int16)},
            {"parent": np.zeros(2, np.int64)} | {"label": np.zeros(2, np.int16)},
        )
    with pytest.raises(DataError) as error:
        write(tmp_path / "a.h5", *[{"image": np.zeros((2, size, 4), np.uint8)} for size in (4, 5)])
    assert str(error.value) == (
        "rows of image differ in shape: (4, 4) before row 2 and (5, 4) after it; "
        "bring them to one with fer detect --size"
    )


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        (("a", "b", "a"), "the classes a, b, a are not distinct"),
        (("a\0",), "a class holds a zero byte: 'a\\x00'"),
        ([str(code) for code in range(15_001)], "15,001 classes with names of up to 5 bytes are more than a store "
                                                "holds: give fewer of them, or shorter names"),
    ],
)  # fmt: skip
def test_classes_that_are_refused(tmp_path, classes, text):
    with pytest.raises(DataError) as error:
        write(tmp_path / "a.h5", classes=classes)
    assert str(error.value) == text


def test_as_many_classes_as_a_store_holds(tmp_path):
    classes = tuple(f"{code:05}" for code in range(12_000))
    with open_store(write(tmp_path / "a.h5", classes=classes)) as store:
        assert store.classes == classes


def test_documents_and_arrays_that_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"^the document model holds a value that is not a finite number$"):
        write(tmp_path / "a.h5", documents={"model": [float("nan")]})
    for name in ("weights", "weights/", "weights/a/b", "other/a", "image"):
        with pytest.raises(DataError, match=f"^{name!r} is no array of the store format$"):
            write(tmp_path / "a.h5", arrays={name: np.zeros(2)})


# --- files that are refused ------------------------------------------------------------------------------------------


def refusal(path, kind="samples"):
    """The sentence with which a store is refused when it is opened or read to the end."""

    def read_all():
        with open_store(path, kind) as store:
            for name in store.columns:
                store.column(name)
            assert store.documents is not None

    with pytest.raises(DataError) as error:
        read_all()
    return str(error.value)


def changed(path, change):
    """The store with a change made by plain h5py."""
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def test_files_that_are_no_stores(tmp_path):
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("label,pixels\n")
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["x"] = 1
    assert refusal(tmp_path / "none.h5") == f"{tmp_path}/none.h5 does not exist"
    assert refusal(tmp_path) == f"{tmp_path} is a folder, not a store: make samples with fer ingest"
    assert refusal("a\0b") == "a\0b cannot be read: its name holds a zero byte"
    assert refusal(tmp_path / "empty.h5") == f"{tmp_path}/empty.h5 is empty: make it again"
    assert refusal(tmp_path / "text.h5") == (
        f"{tmp_path}/text.h5 is not a fercli store (not HDF5): make samples with fer ingest"
    )
    assert refusal(tmp_path / "text.h5", "model") == (
        f"{tmp_path}/text.h5 is not a fercli store (not HDF5): make a model with fer train"
    )
    assert refusal(tmp_path / "plain.h5") == (
        f"{tmp_path}/plain.h5 is HDF5 but no complete fercli store: make samples with fer ingest"
    )


def test_a_store_without_its_mark_is_not_complete(tmp_path):
    path = changed(write(tmp_path / "a.h5", samples()), lambda file: file.attrs.__delitem__("format"))
    assert refusal(path) == f"{path} is HDF5 but no complete fercli store: make samples with fer ingest"


def test_a_newer_version_is_refused_before_what_it_may_hold(tmp_path):
    def change(file):
        file.attrs["version"] = np.int64(2)
        file["things to come"] = 1

    path = changed(write(tmp_path / "a.h5", samples()), change)
    assert refusal(path) == (f"{path} has store version 2 and this fer reads up to 1: install a newer fercli")


@pytest.mark.parametrize("version", [0, -1, np.bytes_(b"1")])
def test_a_version_that_never_was(tmp_path, version):
    path = changed(write(tmp_path / "a.h5", samples()), lambda file: file.attrs.__setitem__("version", version))
    assert refusal(path) == f"{path} is damaged: its version or kind is not one that fer ever wrote"


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("samples", "make samples with fer ingest"),
        ("predictions", "make predictions with fer predict -o FILE.h5"),
    ],
)
def test_the_wrong_kind(tmp_path, kind, hint):
    path = write(tmp_path / "m.h5", kind="model")
    assert refusal(path, kind) == f"{path} holds model, not {kind}: {hint}"
    assert refusal(path, (kind, "model2")) == f"{path} holds model, not {kind} or model2: {hint}"


def test_a_column_that_is_not_there(tmp_path):
    path = write(tmp_path / "a.h5", photos(b"x"))
    with open_store(path) as store:
        for ask in (store.shape, store.column, lambda name: list(store.blocks([name]))):
            with pytest.raises(DataError) as error:
                ask("hog")
            assert str(error.value) == f"{path} has no column hog: it has encoded, height, width"


def test_every_truncation_is_refused(tmp_path):
    whole = Path(write(tmp_path / "a.h5", samples() | {"attribute/age": np.zeros(6, np.int16)})).read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(whole)
    for length in reversed(range(len(whole))):
        os.truncate(path, length)
        with pytest.raises(DataError) as error, open_store(path):
            pass
        if length >= 8:
            assert str(error.value) == f"{path} is truncated or damaged ({length:,} bytes): make it again"


def test_every_truncation_of_a_stream_is_refused(tmp_path):
    whole = Path(write(tmp_path / "a.h5", samples())).read_bytes()
    for length in [*range(12), *range(12, len(whole), 97), len(whole) - 1]:
        with stdin_pipe(whole[:length]):
            text = refusal("-")
        if length == 0:
            assert text == "nothing arrived on standard input: the stage before this one failed or wrote nothing"
        elif length < 8:
            assert text == "standard input is not a fercli store (not HDF5): make samples with fer ingest"
        else:
            assert text == f"standard input is truncated or damaged ({length:,} bytes): make it again"


def test_stores_joined_with_cat_are_refused(tmp_path):
    data = Path(write(tmp_path / "a.h5", samples())).read_bytes()
    with stdin_pipe(data + data):
        assert refusal("-") == (
            f"standard input goes on after its end, for {len(data):,} bytes: stores cannot be joined with cat; "
            "name them one after the other"
        )


def rewrite(name, values, **attributes):
    """A change that puts other values in place of a dataset."""

    def change(file):
        del file[name]
        file.create_dataset(name, data=values)
        file.attrs.update(attributes)

    return change


damages = {
    "its offsets do not rise from 0 to 5, the end of its photos": [
        rewrite("offset", np.array(values, kind))
        for values, kind in [
            ([0, 4, 3, 5], "i8"), ([0, 2, 4, 6], "i8"), ([1, 2, 3, 5], "i8"), ([0, 1, 2, 3], "i8"), ([], "i8"),
            ([-1, 2, 3, 5], "i8"), ([0, 2, 3, 5], "f8"), ([0, 2, 3, 5], "i4"), ([[0], [1], [2], [5]], "i8"),
        ]
    ],
    "its column encoded is uint8 of shape (5,) beside 3 rows, not bytes of shape one value a row": [
        rewrite("offset", np.array([0, 5])),
    ],
    "its column height is int64 of shape (3,) beside 3 rows, not int32 of shape one value a row": [
        rewrite("height", np.zeros(3, "i8")),
    ],
    "its column height is >i4 of shape (3,) beside 3 rows, not int32 of shape one value a row": [
        rewrite("height", np.zeros(3, ">i4")),
    ],
    "its column height is int32 of shape (2,) beside 3 rows, not int32 of shape one value a row": [
        rewrite("height", np.zeros(2, "i4")),
    ],
    "its column encoded is int8 of shape (5,) beside 3 rows, not bytes of shape one value a row": [
        rewrite("encoded", np.zeros(5, "i1")),
    ],
    "it has the columns encoded without height": [lambda file: file.__delitem__("height")],
    "it has -3 rows in 3 columns": [lambda file: file.attrs.__setitem__("rows", -3)],
    "its classes are not distinct names": [
        lambda file: file.attrs.__setitem__("classes", np.array([b"a", b"a"])),
        lambda file: file.attrs.__setitem__("classes", 7),
        lambda file: file.attrs.__delitem__("classes"),
    ],
    "make it again": [
        lambda file: file.__delitem__("offset"),
        lambda file: file.attrs.__setitem__("rows", np.arange(3)),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("text", "change"), [(text, change) for text, all_ in damages.items() for change in all_])
def test_damaged_stores(tmp_path, text, change):
    path = changed(write(tmp_path / "a.h5", photos(b"ab", b"", b"cde")), change)
    assert refusal(path) == f"{path} is damaged: {text}"


def test_rows_without_columns(tmp_path):
    path = changed(write(tmp_path / "a.h5"), lambda file: file.attrs.__setitem__("rows", 10**12))
    assert refusal(path) == f"{path} is damaged: it has {10**12} rows in 0 columns"


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("label", np.array([0, 1, 2, 3, 0, 0], np.int16), "label of row 3 lies outside the 3 classes: 3"),
        ("score", np.array([0, 0, 0, 0, np.nan, 0], np.float32), "score of row 4 is not a finite number: nan"),
        ("split", np.array([0, 1, 2, 7, 0, 0], np.int8), "split of row 3 is none of train, val, test: 7"),
        ("seen", np.array([0, 1, 7, 0, 0, 0], np.uint8).view(bool), "seen of row 2 is neither true nor false: 7"),
    ],
)
def test_values_that_no_store_may_hold(tmp_path, name, values, text):
    path = write(tmp_path / "a.h5", samples() | {"score": np.zeros(6, np.float32), "seen": np.zeros(6, bool)})

    def change(file):
        file[name].id.write(h5py.h5s.ALL, h5py.h5s.ALL, values, file[name].id.get_type())

    assert refusal(changed(path, change)) == f"{path}: {text}"


@pytest.mark.parametrize("split", [np.zeros(6, np.int8), np.zeros(6, h5py.enum_dtype({"test": 0, "train": 2}, "i1"))])
def test_a_split_of_other_codes(tmp_path, split):
    path = changed(write(tmp_path / "a.h5", samples()), rewrite("split", split))
    assert refusal(path) == (
        f"{path} is damaged: its column split is int8 of shape (6,) beside 6 rows, not split of shape one value a row"
    )


@pytest.mark.parametrize("channels", [None, [b"red", b"green", b"blue"], [b"grey"]])
def test_channels_that_do_not_fit_the_images(tmp_path, channels):
    def change(file):
        del file.attrs["channels"]
        if channels:
            file.attrs["channels"] = np.array(channels)

    path = changed(write(tmp_path / "a.h5", samples()), change)
    told = ", ".join(name.decode() for name in channels or [b"not named"])
    assert refusal(path) == f"{path} is damaged: its images are of shape (4, 4) and their channels {told}"


def proper(key):
    return f"entry 1 of its provenance has no proper {key!r}"


@pytest.mark.parametrize(
    ("name", "raw", "text"),
    [
        ("augment", b"{", "its augment is not JSON"),
        ("augment", b"\xff", "its augment is not JSON"),
        ("model", b"NaN", "its model is not JSON"),
        ("model", b"[" * 100_000, "its model is not JSON"),
        ("model", np.arange(3), "its model is not JSON"),
        ("provenance", b"{}", "its provenance is no list of stages"),
        ("provenance", json.dumps([entry(), 3]).encode(), proper("stage")),
        ("provenance", json.dumps([entry(), entry(stage=None)]).encode(), proper("stage")),
        ("provenance", json.dumps([entry(), entry(spec=[])]).encode(), proper("spec")),
        ("provenance", json.dumps([entry(), entry(rows="6")]).encode(), proper("rows")),
        ("provenance", json.dumps([entry(), entry(inputs=[1])]).encode(), proper("inputs")),
        ("provenance", json.dumps([entry(), {"stage": "x", "spec": {}}]).encode(), proper("version")),
    ],
)
def test_garbage_documents(tmp_path, name, raw, text):
    value = raw if isinstance(raw, np.ndarray) else np.bytes_(raw)
    documents = {"augment": 1, "model": 1, "provenance": []}
    path = changed(write(tmp_path / "a.h5", samples(), documents=documents), rewrite(name, value))
    assert refusal(path) == f"{path} is damaged: {text}"


# --- pipes -----------------------------------------------------------------------------------------------------------


def test_a_store_flows_through_a_pipe(tmp_path):
    path = write(tmp_path / "a.h5", samples(400, 30))
    data = Path(path).read_bytes()
    assert len(data) > 200_000  # more than a pipe holds
    for limit in (10**9, 1000):  # kept in memory, and in a temporary file
        with mock.patch("fercli.store.pipe.MEMORY_SPOOL", limit), stdin_pipe(data), open_store("-") as store:
            assert store.name == "standard input"
            assert store.digest == hashlib.blake2b(data, digest_size=16).hexdigest()
            same(concatenate(store.blocks()), samples(400, 30))


def test_a_redirected_file_is_read_where_it_is(tmp_path):
    path = write(tmp_path / "a.h5", samples())
    file = open(path, "rb")  # noqa: SIM115 - closed by stdin_file
    file.read(3)
    with stdin_file(file), mock.patch("shutil.copyfileobj", side_effect=AssertionError), open_store("-") as store:
        same(concatenate(store.blocks()), samples())


def test_standard_input_can_be_read_once(tmp_path):
    with pytest.raises(UsageError, match=r"^standard input is named twice, and can be read once$"):
        open_store(["-", "-"]).__enter__()


def test_a_store_named_twice_would_count_twice(tmp_path):
    path = write(tmp_path / "a.h5", samples())
    (tmp_path / "b.h5").symlink_to(path)
    with pytest.raises(UsageError) as error:
        open_store([path, tmp_path / "b.h5"]).__enter__()
    assert str(error.value) == f"{tmp_path / 'b.h5'} is named twice, and would count twice: name it once"


def test_a_named_pipe_is_read(tmp_path):
    path, pipe = write(tmp_path / "a.h5", samples()), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(Path(path).read_bytes()), daemon=True)
    writer.start()
    with open_store(pipe) as store:
        same(concatenate(store.blocks()), samples())
    writer.join()


def test_stores_with_other_recipes_of_augmentation_are_not_one(tmp_path):
    paths = [
        write(tmp_path / f"{number}.h5", samples(), documents={"augment": {"rotation": number}}) for number in range(2)
    ]
    with pytest.raises(DataError) as error:
        open_store(paths).__enter__()
    assert str(error.value) == (
        f"{paths[1]} and {paths[0]} carry different recipes of online augmentation: "
        f"name their inputs to one fer augment --online"
    )


def test_a_terminal_is_no_store():
    ours, theirs = pty.openpty()
    with stdin_file(os.fdopen(theirs, "rb")), pytest.raises(UsageError) as error, open_store("-"):
        pass
    os.close(ours)
    assert str(error.value) == "standard input is a terminal: name a store, or pipe one in"


def test_no_store_is_written_to_a_terminal(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with pytest.raises(UsageError) as error:
            create_store("-").__enter__()
    os.close(ours)
    assert str(error.value) == ("a store is binary and standard output is a terminal: add -o FILE.h5, or pipe it on")


@pytest.mark.parametrize(("stream", "text"), [
    ("stdin", "standard input is closed: name a store, or pipe one in"),
    ("stdout", "standard output is closed: add -o FILE.h5, or pipe it on"),
])  # fmt: skip
def test_closed_streams(monkeypatch, stream, text):
    monkeypatch.setattr(sys, stream, None)
    with pytest.raises(UsageError) as error:
        (open_store if stream == "stdin" else create_store)("-").__enter__()
    assert str(error.value) == text


def test_a_store_on_standard_output_is_the_same_as_in_a_file(tmp_path, monkeypatch):
    expected = Path(write(tmp_path / "a.h5", samples(300, 20))).read_bytes()
    for limit in (10**9, 1000):
        buffer = io.BytesIO()
        with mock.patch("fercli.store.write.MEMORY_SPOOL", limit):
            monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer))
            write("-", samples(300, 20))
        assert buffer.getvalue() == expected
        assert buffer is sys.stdout.buffer


def test_nothing_flows_when_the_stage_fails(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer))
    with pytest.raises(DataError, match=r"^column label "):
        write("-", samples(5000), samples(1) | {"label": np.zeros(1)})
    assert buffer.getvalue() == b""


def test_what_begins_as_a_store(tmp_path):
    assert is_store(Path(write(tmp_path / "a.h5")).read_bytes()[:8])
    assert not is_store(b"\xff\xd8\xff\xe0 a photo")
    assert not is_store(b"")


def test_samples_without_labels_or_attributes_are_read_beside_those_that_have_them(tmp_path):
    rows = {name: values for name, values in samples().items() if name != "votes"}
    one = {**rows, "attribute/gender": np.array([0, 1, -1, 1, 0, 1], np.int16)}
    other = {name: values for name, values in rows.items() if name != "label"}
    names = [write(tmp_path / "a.h5", one), write(tmp_path / "b.h5", other, classes=())]
    for order, known in ((names, slice(0, 6)), (names[::-1], slice(6, 12))):
        with open_store(order) as both:
            assert both.classes == CLASSES
            assert both.columns == (
                "image",
                "label",
                "split",
                "source",
                "parent",
                "digest",
                "attribute/gender",
            )
            for name in ("label", "attribute/gender"):
                expected = np.full(12, -1, np.int16)
                expected[known] = one[name]
                assert both.column(name).tolist() == expected.tolist()
                assert both.column(name).dtype == np.int16
                read = np.concatenate([block[name] for block in both.blocks([name, "source"])])
                assert read.tolist() == expected.tolist()
                assert both.shape(name) == ()


def test_predictions_of_different_heads_are_not_read_as_one(tmp_path):
    rows = {"source": samples()["source"], "head/gender": np.zeros(6, np.int16)}
    names = [
        write(tmp_path / f"{letter}.h5", rows, kind="predictions", documents={"heads": heads})
        for letter, heads in (("a", [{"name": "gender", "classes": ["male", "female"]}]), ("b", []))
    ]
    with pytest.raises(DataError) as error, open_store(names, "predictions"):
        pass
    assert str(error.value) == (
        f"{names[1]} and {names[0]} hold answers of different heads: predict both with one model and --heads"
    )


# --- SCHEMA.md -------------------------------------------------------------------------------------------------------

SCHEMA = Path(fercli.store.__file__).with_name("SCHEMA.md").read_text()


def rows_under(heading):
    """The cells of the first table under a heading of SCHEMA.md."""
    section = SCHEMA.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = re.findall(r"^\|(.+)\|$", section, re.MULTILINE)
    return [tuple(cell.strip() for cell in row.split("|")) for row in table[2:]]


def test_the_document_has_each_column_and_nothing_else():
    def shape(column):
        if column.dtype == "bytes":
            return ""
        return f"N,{column.shape}" if column.shape and not column.shape.startswith("[") else "N" + column.shape

    declared = schema.COLUMNS | {f"{prefix}NAME": column for prefix, column in schema.GROUPED.items()}
    expected = [(name, column.dtype, shape(column), column.meaning) for name, column in declared.items()]
    assert rows_under("Columns") == expected


def test_the_document_has_each_document_attribute_and_array():
    assert [row[0] for row in rows_under("Documents")] == list(schema.DOCUMENTS)
    assert [row[0] for row in rows_under("Attributes of the root")] == list(schema.ATTRIBUTES)
    arrays = [*schema.ARRAYS, *(f"{group}/NAME" for group in schema.ARRAY_GROUPS)]
    assert [row[0] for row in rows_under("Models")] == arrays
    assert [row[0] for row in rows_under("Versions")] == [str(number + 1) for number in range(schema.VERSION)]
    assert f'format "{schema.FORMAT}", version {schema.VERSION}' in SCHEMA
    assert all(f"`{kind}`" in SCHEMA for kind in schema.KINDS)
    assert ", ".join(f"{name} {code}" for name, code in schema.SPLIT_CODES.items()) in SCHEMA


def test_the_document_says_what_a_file_looks_like(tmp_path):
    """A store with every column has no more objects than the document's tree, and its plain reader works."""
    code = re.search(r"```python\n(.+?)```", SCHEMA, re.DOTALL)[1]
    path = write(tmp_path / "faces.h5", samples())
    exec(code.replace("faces.h5", path), {})


def test_the_document_says_how_a_digest_is_made():
    from fercli.ops import image

    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert image.digest(pixels) == hashlib.blake2b(b"(3, 4)" + pixels.tobytes(), digest_size=16).digest()
