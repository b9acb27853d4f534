"""The examples run as printed on drawn data."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import h5py
import pytest

from fercli.recipes.recipe import load

from .program import ENVIRON, FER, ROOT

EXAMPLES = ROOT / "examples"


def run(*command: str | Path, status: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run([str(word) for word in command], env=ENVIRON, capture_output=True, text=True, timeout=600)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with faces.h5, model.h5 and a folder of photos, of which one is broken."""
    folder = tmp_path_factory.mktemp("examples")
    run(*FER, "ingest", "synthetic:200", "-o", folder / "faces.h5")
    run(*FER, "train", "--epochs", "1", folder / "faces.h5", "-o", folder / "model.h5")
    from fercli.store import open_store

    run(*FER, "ingest", "synthetic:3:scenes", "-o", folder / "scenes.h5")
    (folder / "photos").mkdir()
    with open_store(folder / "scenes.h5") as scenes:
        for number, data in enumerate(scenes.column("encoded")):
            (folder / "photos" / f"{number}.jpg").write_bytes(data)
    (folder / "photos" / "broken.jpg").write_bytes(b"no photo")
    return folder


def test_label_a_folder(work, tmp_path):
    command = ("bash", EXAMPLES / "label-folder.sh", work / "model.h5", work / "photos", tmp_path / "out")
    done = run(*command)
    header, *lines = (tmp_path / "out" / "labels.csv").read_text().splitlines()
    assert header.startswith("source,status,score,label,confidence")
    assert sum(",ok," in line for line in lines) >= 3
    assert [line for line in lines if "broken.jpg,error" in line]
    assert "some photos could not be read: see the column error" in done.stderr
    pictures = [path.name for path in sorted((tmp_path / "out" / "pictures").glob("*.jpg"))]
    assert pictures == ["0.jpg", "1.jpg", "2.jpg"]
    assert (tmp_path / "out" / "faces.png").exists()
    links = [path for path in (tmp_path / "out" / "sorted").rglob("*") if path.is_symlink()]
    assert len(links) == 4
    assert "4 photos of 4 labelled by an earlier run, of which 1 cannot be read" in run(*command).stderr
    assert (tmp_path / "out" / "labels.csv").read_text().splitlines() == [header, *lines]


def test_watch_a_video(work, tmp_path):
    """With a stand-in for FFmpeg, which writes down how it is called and how many bytes of frames arrive."""
    import cv2
    import numpy as np

    video = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (320, 304))
    for shade in range(10):
        video.write(np.full((304, 320, 3), 10 * shade, np.uint8))
    video.release()
    for name in ("ffmpeg", "ffplay"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" > {tmp_path}/told; wc -c >> {tmp_path}/told\n')
        (tmp_path / name).chmod(0o755)
    form = "-f rawvideo -pixel_format bgr24 -video_size 320x304 -framerate 25 -i -"
    path = f"{tmp_path}:{ENVIRON['PATH']}"
    script = ("env", f"PATH={path}", "bash", EXAMPLES / "watch-video.sh", work / "model.h5")
    for words, told in (
        ((tmp_path / "rows.jsonl",), f"ffplay -loglevel error {form}"),
        (
            (tmp_path / "rows.jsonl", "out.mp4"),
            f"ffmpeg -loglevel error -y {form} -c:v libx264 -pix_fmt yuv420p out.mp4",
        ),
    ):
        run(*script, tmp_path / "a.mp4", *words)
        assert (tmp_path / "told").read_text().splitlines() == [told, str(10 * 320 * 304 * 3)]
        assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 10
    (tmp_path / "none.mp4").touch()
    (tmp_path / "told").unlink()
    assert "the file is empty" in run(*script, tmp_path / "none.mp4", tmp_path / "r.jsonl", status=4).stderr
    assert not (tmp_path / "told").exists()


def test_gate_passes_on_itself_and_fails_on_a_higher_bound(work):
    baseline = work / "baseline.h5"
    gate = ("bash", EXAMPLES / "ci-gate.sh", work / "model.h5", work / "faces.h5", baseline)
    first = run(*gate, status=3)  # an epoch on 140 faces does not reach the bound
    assert "gate failed: accuracy is" in first.stderr
    assert not baseline.exists()
    assert "first run: kept as" in run("env", "MIN_ACCURACY=0.05", *gate).stderr
    second = run("env", "MIN_ACCURACY=0.05", *gate)
    assert "kept" not in second.stderr
    assert f", as in {baseline}" in " ".join(second.stdout.split())
    with h5py.File(baseline, "r+") as better:
        better["predicted"][:] = better["label"][:]
    worse = run("env", "MIN_ACCURACY=0.05", *gate, status=3).stderr
    assert "beyond the 1 allowed" in " ".join(worse.split())


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


def test_the_comparison_of_alizadeh_on_folders_without_test_rows(tmp_path):
    """With a small network for all four."""
    import cv2
    import numpy as np

    for split, shade in (("train", 0), ("train", 10), ("train", 20), ("val", 30)):
        for emotion, light in (("happy", 0), ("sad", 100)):
            (tmp_path / split / emotion).mkdir(parents=True, exist_ok=True)
            picture = np.full((48, 48), light + shade, np.uint8)
            cv2.imwrite(str(tmp_path / split / emotion / f"{shade}.png"), picture)
    flags = ("--model", "njoku", "--holdout", "0", "--epochs", "1", "--device", "cpu")
    _, *lines = run("bash", EXAMPLES / "reproduce/alizadeh.sh", tmp_path, *flags).stdout.splitlines()
    for name, line in zip(("shallow", "shallow-hog", "deep", "deep-hog"), lines, strict=True):
        assert re.fullmatch(rf"alizadeh-{name} .* {MEASURED} +-", line), line


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_makefile_builds_once(tmp_path):
    make = ("make", "-C", EXAMPLES, "DATA=synthetic:50", "EPOCHS=1", f"OUT={tmp_path}")
    run(*make)
    assert "accuracy" in (tmp_path / "report.md").read_text()
    made = _moments(tmp_path)
    assert len(made) == 5
    os.utime(tmp_path / "faces.h5")  # whose data is what it was
    run(*make, "EPOCHS=2")
    anew = _moments(tmp_path)
    assert {name for name in made if anew[name] != made[name]} - {"faces.h5"} == {
        "model.h5", "predictions.h5", "report.md",
    }  # fmt: skip


def _moments(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_shards_are_of_the_photos_that_fer_predict_would_label(tmp_path):
    """With a stand-in for GNU parallel, which tells what it is given."""
    (tmp_path / "parallel").write_text("#!/bin/sh\ntr '\\0' '\\n'\n")
    (tmp_path / "parallel").chmod(0o755)
    photos = tmp_path / "my [photos]"
    for name in ("a.jpg", "b/c.PNG", ".d.jpg", ".e/f.jpg", "@eaDir/g.jpg", "h.txt"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).touch()
    for folder in (photos, f"{photos}/"):
        done = subprocess.run(
            ["bash", EXAMPLES / "shards.sh", "default", folder],
            env=ENVIRON | {"PATH": f"{tmp_path}:{ENVIRON['PATH']}"}, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert [os.path.relpath(path, photos) for path in done.stdout.splitlines()] == ["a.jpg", "b/c.PNG"]


@pytest.mark.skipif(not shutil.which("parallel"), reason="GNU parallel is not installed")
def test_shards_label_every_photo(work):
    done = run(
        "bash", EXAMPLES / "shards.sh", work / "model.h5", work / "photos", status=1
    )  # parallel counts the jobs that did not end in 0
    assert {f"{number}.jpg" in done.stdout for number in range(3)} == {True}
