"""`fer info`: what a store holds, and whether it is sound."""

import json
import re

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from fercli.cli import fer
from fercli.errors import DataError, UsageError
from fercli.ops.image import digest
from fercli.stages.inspect import verify
from fercli.stages.runner import Log
from fercli.store import open_store

from .stores import entry, photos, samples, write
from .trees import photo


class Told:
    """An interface that keeps its notes."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def total(self, rows):
        pass

    def advance(self, rows):
        pass


def faces(tmp_path, *stages):
    """A store of faces with digests of their pixels, that these stages made."""
    block = samples()
    block["digest"] = np.array([np.frombuffer(digest(image), np.uint8) for image in block["image"]])
    chain = [entry(stage) for stage in ("ingest", *stages)]
    return write(tmp_path / "s.h5", block, documents={"provenance": chain})


def checked(path):
    told = Told()
    with open_store(path, ("samples", "model")) as store:
        return verify(store, Log("fail", told)), told.notes


def page(path, *flags):
    done = CliRunner().invoke(fer, ["info", path, *flags], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_sound_faces(tmp_path):
    assert checked(faces(tmp_path)) == (6, [])


@pytest.mark.parametrize("column", ["image", "digest"])
def test_a_changed_pixel_or_digest_is_found(column, tmp_path):
    path = faces(tmp_path)
    with h5py.File(path, "r+") as file:
        file[column][4] ^= 1
    with pytest.raises(DataError, match=f"^{re.escape(path)}: the pixels of row 4 are not those that its digest was"):
        checked(path)


def test_pixels_that_a_stage_changed_are_said_not_to_be_compared(tmp_path):
    rows, notes = checked(faces(tmp_path, "augment", "gradients"))
    assert rows == 6
    assert notes == ["pixels are not compared with digests, which are those from before fer augment and gradients"]


def test_a_photo_that_cannot_be_decoded_is_named_by_its_row(tmp_path):
    block = photos(photo(1), photo(2)[:60]) | {"height": np.full(2, 48, np.int32), "width": np.full(2, 48, np.int32)}
    path = write(tmp_path / "p.h5", block, documents={"provenance": []})
    with pytest.raises(DataError, match=rf"^{re.escape(path)}: row 1 cannot be decoded: the image is cut off"):
        checked(path)


def test_weights_that_are_no_numbers(tmp_path):
    weights = {"weights/a": np.array([1.0, np.nan], np.float32)}
    path = write(tmp_path / "m.h5", kind="model", arrays=weights, documents={"provenance": []})
    with pytest.raises(DataError, match=r"weights/a of shape \(2,\) holds values that are not finite numbers$"):
        checked(path)


def test_the_page(tmp_path):
    path = faces(tmp_path)
    assert page(path).splitlines() == [
        f"{path}: samples, 6 rows",
        "                train      val     test",
        "angry               0        1        1",
        "happy               0        0        1",
        "neutral             1        0        0",
        "unlabelled          1        1        0",
        "total               2        2        2",
        "columns     image 4x4, label, votes 3, split, source, parent, digest 16",
        "channels    gray",
        "made by     fer ingest (6 rows, version 1)",
    ]


def model(tmp_path):
    series = {"loss": [1.5, 1.25], "validation_accuracy": [0.5, 0.625], "rate": [1e-3, 5e-5]}
    weights = {"a.weight": (4, 2), "a.bias": (4,), "b.running_mean": (4,), "b.running_var": (4,)}
    arrays = {f"history/{name}": np.array(values) for name, values in series.items()}
    arrays |= {f"weights/{name}": np.ones(shape, np.float32) for name, shape in weights.items()}
    return write(tmp_path / "m.h5", kind="model", arrays=arrays, documents={"provenance": []}), series


def test_the_history_of_a_model(tmp_path):
    path, series = model(tmp_path)
    lines = [line.split() for line in page(path, "--history").splitlines()]
    assert lines[0] == ["epoch", *sorted(series)]
    assert lines[1:] == [["1", "1.5", "0.001", "0.5"], ["2", "1.25", "5e-05", "0.625"]]
    facts = json.loads(page(path, "--json"))
    assert facts["history"] == series
    assert facts["parameters"] == 12


@pytest.mark.parametrize(
    "series",
    [{"loss": np.ones(2), "rate": np.ones(3)}, {"loss": np.ones((2, 2))}, {"loss": np.array([b"one"])}],
)
def test_a_damaged_history_is_told(tmp_path, series):
    arrays = {f"history/{name}": values for name, values in series.items()}
    path = write(tmp_path / "m.h5", kind="model", arrays=arrays, documents={"provenance": []})
    with pytest.raises(DataError) as caught:
        page(path, "--history")
    assert str(caught.value) == f"{path} is damaged: its history is not one number an epoch of {', '.join(series)}"


def test_what_is_no_model_has_no_history(tmp_path):
    with pytest.raises(DataError) as caught:
        page(faces(tmp_path), "--history")
    assert str(caught.value) == (
        f"{tmp_path}/s.h5 holds samples, and only a model has a history: name one made by fer train"
    )


def test_single_values(tmp_path):
    path = faces(tmp_path)
    assert page(path, "--count") == "6\n"
    assert page(path, "--classes") == "angry\nhappy\nneutral\n"
    with pytest.raises(UsageError) as error:
        CliRunner().invoke(fer, ["info", path, "--classes", "--count"], standalone_mode=False, catch_exceptions=False)
    assert str(error.value) == "--count and --classes print one thing only, each: leave --classes out"


def test_the_chain_tells_failed_rows_and_cannot_steer_the_terminal(tmp_path):
    chain = [entry("ingest", failed=2, spec={"ferplus": "\x1b[2J.csv", "attribute": []}), entry("train", rows=0)]
    path = write(tmp_path / "s.h5", samples(), documents={"provenance": chain})
    assert page(path).splitlines()[-2:] == [
        r"made by     fer ingest (6 rows, 2 failed, version 1) ferplus=\x1b[2J.csv",
        "then        fer train (version 1)",
    ]


def test_the_model_of_the_package_is_called_default():
    shown = page("default")
    assert re.search(r"default\.h5: model residual, [\d,]+ parameters\n", shown)
    assert "takes       48x48 gray\n" in shown
