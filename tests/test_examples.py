"""The examples run as printed on drawn data."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fercli.recipes.recipe import load

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(*command: str | Path, status: int = 0) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(word) for word in command],
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with faces.h5, model.h5 and a folder of photos, of which one is broken."""
    folder = tmp_path_factory.mktemp("examples")
    fer = (sys.executable, "-m", "fercli")
    run(*fer, "ingest", "synthetic:200", "-o", folder / "faces.h5")
    run(*fer, "train", "--epochs", "1", folder / "faces.h5", "-o", folder / "model.h5")
    from fercli.store import open_store

    run(*fer, "ingest", "synthetic:3:scenes", "-o", folder / "scenes.h5")
    (folder / "photos").mkdir()
    with open_store(folder / "scenes.h5") as scenes:
        for number, data in enumerate(scenes.column("encoded")):
            (folder / "photos" / f"{number}.jpg").write_bytes(data)
    (folder / "photos" / "broken.jpg").write_bytes(b"no photo")
    return folder


def test_label_a_folder(work):
    done = run("bash", EXAMPLES / "label-folder.sh", work / "model.h5", work / "photos")
    header, *lines = done.stdout.splitlines()
    assert header.startswith("source,status,score,label,confidence")
    assert sum(",ok," in line for line in lines) >= 3
    assert [line for line in lines if "broken.jpg,error" in line]
    assert "some photos could not be read: see the column error" in done.stderr


def test_gate_passes_on_itself_and_fails_on_a_higher_bound(work):
    baseline = work / "baseline.h5"
    gate = ("bash", EXAMPLES / "ci-gate.sh", work / "model.h5", work / "faces.h5", baseline)
    first = run(*gate, status=3)  # an epoch on 140 faces does not reach the bound
    assert "first run: kept as" in first.stderr
    assert "gate failed: accuracy is" in first.stderr
    assert baseline.exists()
    run("env", "MIN_ACCURACY=0.05", *gate)


MEASURED = r"[0-9.]+ \([0-9.]+ to [0-9.]+\)"


def test_the_tables_of_falahzadeh(work):
    """With a small network for AlexNet, two folds for ten, and pictures that are faces already."""
    settings = ("DETECTOR=none", "SIZE=32", "FOLDS=2", f"OUT={work / 'falahzadeh'}")
    flags = ("--model", "njoku", "--init", work / "model.h5", "--holdout", "0", "--epochs", "1", "--device", "cpu")
    script = ("env", *settings, "bash", EXAMPLES / "reproduce/falahzadeh.sh", "synthetic:28", *flags)
    head, *lines = run(*script).stdout.splitlines()
    assert head == "accuracy, %         JAFFE    CK+  measured (95 % interval)"
    published = (
        ("frozen 1", "76.25  78.68"), ("frozen 1-2", "76.40  79.30"), ("frozen 1-3", "80.65  81.12"),
        ("frozen 1-4", "83.35  84.86"), ("with gradients", "90.10  91.36"), ("with augmentation", "92.02  93.12"),
        ("with dropout", "92.41  93.66"),
    )  # fmt: skip
    assert len(lines) == len(published)
    for line, (name, figures) in zip(lines, published, strict=True):
        assert re.fullmatch(rf"{re.escape(f'{name:<18}  {figures}')}  {MEASURED}", line), line
    trained = load("falahzadeh").paper["reported"]
    told = [
        f"{one['jaffe_accuracy']:.2f}  {one['ckplus_accuracy']:.2f}" for one in trained.values() if type(one) is dict
    ]
    assert told == [figures for _, figures in published[:-1]]


def test_the_comparison_of_alizadeh(work):
    script = ("bash", EXAMPLES / "reproduce/alizadeh.sh", "synthetic:30", "--holdout", "0", "--epochs", "1")
    head, *lines = run(*script).stdout.splitlines()
    assert head.split("  ")[0] == "accuracy, %"
    for name, line in zip(("shallow", "shallow-hog", "deep", "deep-hog"), lines, strict=True):
        assert re.fullmatch(rf"alizadeh-{name} .* {MEASURED} +{MEASURED}", line), line


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_makefile_builds_once(tmp_path):
    make = ("make", "-C", EXAMPLES, "DATA=synthetic:200", "EPOCHS=1", f"OUT={tmp_path}")
    run(*make)
    assert "accuracy" in (tmp_path / "report.md").read_text()
    assert "up to date" in run(*make).stdout or "Nothing to be done" in run(*make).stdout


@pytest.mark.skipif(not shutil.which("parallel"), reason="GNU parallel is not installed")
def test_shards_label_every_photo(work):
    done = run(
        "bash", EXAMPLES / "shards.sh", work / "model.h5", work / "photos", status=1
    )  # parallel counts the jobs that did not end in 0
    assert {f"{number}.jpg" in done.stdout for number in range(3)} == {True}
