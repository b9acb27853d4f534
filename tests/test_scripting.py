"""What shell scripts do to commands: readers that leave, variables that are not set, odd names, streams as files."""

import csv
import gzip
import hashlib
import io
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from fercli.stages.detect import DetectSpec, weights_digest
from fercli.store import opened

from .program import fer, shell
from .test_predict import rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of faces, a model, its predictions, and a folder of photos."""
    folder = tmp_path_factory.mktemp("made")
    fer("ingest", "-q", "synthetic:30", "-o", folder / "faces.h5")
    fer("train", "-q", "--model", "njoku", "--epochs", "1", folder / "faces.h5", "-o", folder / "model.h5")
    fer("predict", "-q", "-m", folder / "model.h5", folder / "faces.h5", "-o", folder / "predictions.h5")
    rng, photos = np.random.default_rng(0), folder / "photos"
    photos.mkdir()
    for number in range(100):  # more than a block of rows
        cv2.imwrite(str(photos / f"{number}.png"), rng.integers(0, 256, (24, 24, 3), np.uint8))
    return folder


@pytest.mark.parametrize("form", ["", "--json", "--markdown"])
def test_a_gate_fails_though_nobody_reads_the_figures(made: Path, form: str) -> None:
    done = shell(
        f"fer eval predictions.h5 --split all --min accuracy=0.99 {form} | true; exit ${{PIPESTATUS[0]}}", made
    )
    assert done.returncode == 3
    assert "below the required 0.99" in done.stderr
    passed = shell(f"fer eval predictions.h5 --split all {form} | true; exit ${{PIPESTATUS[0]}}", made)
    assert (passed.returncode, passed.stderr) == (0, "")


def test_what_is_made_beside_the_rows_is_made_though_their_reader_leaves(made: Path, tmp_path: Path) -> None:
    words = f"photos -m model.h5 --detector none --sort-into {tmp_path}/sorted --contact-sheet {tmp_path}/sheet.png"
    done = shell(f"fer predict {words} | true", made)
    assert "fer predict: nobody reads the rows any more: what else was asked for goes on" in done.stderr
    assert len(list((tmp_path / "sorted").glob("*/*.png"))) == 100
    assert (tmp_path / "sheet.png").exists()


def test_rows_alone_end_well_when_their_reader_leaves(made: Path) -> None:
    done = shell("fer predict photos -m model.h5 --detector none | true; exit ${PIPESTATUS[0]}", made)
    assert done.returncode == 0
    assert "nobody reads" not in done.stderr


def test_standard_input_is_named_by_a_dash_wherever_a_file_is(made: Path, tmp_path: Path) -> None:
    done = shell(
        f"cat model.h5 | fer train -q --init - --teacher model.h5 --epochs 1 faces.h5 -o {tmp_path}/m.h5 &&"
        f"fer eval --json predictions.h5 --split all | fer eval predictions.h5 --split all --baseline - &&"
        f"fer eval predictions.h5 --split all --baseline - < predictions.h5",
        made,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = " ".join(done.stdout.split())
    assert told.count("(30 rows), as in standard input") == 2
    twice = shell("fer train --init - -o x.h5 < faces.h5; fer eval --baseline - < predictions.h5", made)
    assert [line for line in twice.stderr.splitlines() if line.startswith("fer ")] == [
        f"fer {command}: error: standard input is named twice, and can be read once" for command in ("train", "eval")
    ]


@pytest.mark.parametrize(
    "words", ["--margin 0", "--min-face 500", "--keep largest", "--detect-every 3", "--align", "--confidence 0.9"]
)
def test_a_setting_of_the_search_where_faces_were_found_already(made: Path, words: str) -> None:
    done = shell(f"fer predict -m model.h5 faces.h5 {words}", made)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == (
        f"fer predict: error: {words.split()[0]} is about finding faces, and faces.h5 holds faces already: leave it out"
    )


def test_two_forms_of_one_page(made: Path) -> None:
    done = shell("fer eval predictions.h5 --split all --json --markdown", made)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == (
        "fer eval: error: --json and --markdown are two forms of one page: leave one of them out"
    )


@pytest.mark.parametrize(
    ("name", "first"), [("r.csv", "source,"), ("r.TSV", "source\t"), ("r.json", '{"source'), ("r", "{")]
)
def test_the_name_of_the_output_tells_the_form_of_the_rows(made: Path, tmp_path: Path, name: str, first: str) -> None:
    assert shell(f"fer predict -q -m model.h5 faces.h5 -o {tmp_path}/{name}", made).returncode == 0
    assert (tmp_path / name).read_text().startswith(first)


def test_a_name_that_tells_no_form_is_refused(made: Path, tmp_path: Path) -> None:
    done = shell(f"fer predict -q -m model.h5 faces.h5 -o {tmp_path}/r.xlsx", made)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert done.stderr.splitlines()[0] == (
        f"fer predict: error: the name {tmp_path}/r.xlsx does not tell the form of the rows: "
        f"add --format jsonl, csv, tsv or store"
    )
    done = shell(f"fer predict -q -m model.h5 faces.h5 -o {tmp_path}/drawn.mp4", made)  # whatever form it were
    assert done.stderr.splitlines()[0] == (
        f"fer predict: error: {tmp_path}/drawn.mp4 has the name of a photo or video, and what is written is neither: "
        f"name it otherwise"
    )
    words = f"-q -m model.h5 faces.h5 --format csv -o {tmp_path}/r.part"
    assert shell(f"fer predict {words}", made).returncode == 0


EMPTY = {
    "train --init": "train --init '' faces.h5 -o x.h5",
    "train --recipe": "train --recipe '' faces.h5 -o x.h5",
    "predict --resume": "predict --resume '' photos",
    "predict --sort-into": "predict --sort-into '' photos",
    "predict --annotate": "predict --annotate '' photos",
    "predict --contact-sheet": "predict --contact-sheet '' photos",
    "predict --files-from": "predict --files-from '' photos",
    "predict -m": "predict -m '' photos",
    "predict -o": "predict -o '' photos",
    "ingest --ferplus": "ingest --ferplus '' photos -o x.h5",
    "recipe run -o": "recipe run njoku --data synthetic:30 -o ''",
}


@pytest.mark.parametrize("case", EMPTY)
def test_a_variable_that_is_not_set_is_no_value(made: Path, case: str) -> None:
    done = shell(f"fer {EMPTY[case]}", made)
    flag = case.split()[-1]
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {flag} is empty: give it a value, or leave it out\n" in done.stderr
    assert not (made / "x.h5").exists()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/stderr"])
def test_what_a_stream_goes_to_is_not_replaced(made: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "log").write_text("kept\n")
    done = shell(f"fer predict -q photos/1.png -m model.h5 -o {name} >> {tmp_path}/log 2>&1", made)
    assert done.returncode == 2
    assert (tmp_path / "log").read_text() == (
        f"kept\nfer predict: error: {name} would be replaced by a file: leave -o out, or give - for standard output\n"
    )


def test_a_folder_is_no_file_and_a_file_no_folder(made: Path, tmp_path: Path) -> None:
    done = shell(f"fer predict photos -o {tmp_path}/new/", made)
    assert done.returncode == 2
    assert f"-o {tmp_path}/new/ is a folder: name a file in it\n" in done.stderr
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    done = shell(f"fer predict photos -o {tmp_path}/file/labels.csv", made)
    assert done.returncode == 1
    told = f"error: {tmp_path}/file is a file, and {tmp_path}/file/labels.csv would lie in it: choose another place"
    assert done.stderr.endswith(f"{told} with -o\n")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_a_name_with_a_line_end_is_one_row_and_is_known_again(made: Path, tmp_path: Path, suffix: str) -> None:
    photos, table = tmp_path / "photos", tmp_path / f"rows.{suffix}"
    photos.mkdir()
    names = ["a\rb.png", "c\r\nd.png", "e\nf.png", 'g"h.png', "i,j\tk.png"]
    for name in names:
        (photos / name).write_bytes((made / "photos" / "0.png").read_bytes())
    words = ("-m", made / "model.h5", "--detector", "none", "--resume", table)
    fer("predict", photos, *words)
    before = table.read_bytes()
    with open(table, encoding="utf-8", newline="") as file:
        delimiter = "\t" if suffix == "tsv" else ","
        found = rows(file.read()) if suffix == "jsonl" else list(csv.DictReader(file, delimiter=delimiter))
    assert sorted(row["source"] for row in found) == sorted(f"{photos}/{name}" for name in names)
    assert b"\r\n" not in before.replace(b'c\r\nd.png"', b"")  # the lines end as those of other tools do
    fer("predict", photos, *words)
    assert table.read_bytes() == before


def test_a_gray_photo_in_three_channels_is_sound(tmp_path: Path) -> None:
    gray = np.random.default_rng(1).integers(0, 256, (20, 20), np.uint8)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "gray.png"), np.dstack([gray] * 3))
    fer("ingest", "-q", tmp_path / "photos", "-o", tmp_path / "photos.h5")
    _, told = fer("info", "--verify", tmp_path / "photos.h5")
    assert "is sound, 1 row read" in told


def test_a_name_that_would_grow_too_long_is_cut(made: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    data = (made / "photos" / "0.png").read_bytes()
    for name in (f"{'z' * 250}.gif", "short.png"):
        (photos / name).write_bytes(data)
    words = ("-m", made / "model.h5", "--detector", "none", "--annotate", tmp_path / "drawn", "-o", tmp_path / "l.csv")
    fer("predict", photos, *words)
    short, cut = sorted(path.name for path in (tmp_path / "drawn").glob("*.png"))
    assert short == "short.png"
    assert re.fullmatch(r"z{242}-[0-9a-f]{8}\.png", cut)
    assert len((tmp_path / "l.csv").read_text().splitlines()) == 3


def test_the_history_is_told_in_json_too(made: Path) -> None:
    told = json.loads(fer("info", "--history", "--json", made / "model.h5")[0])
    assert {len(series) for series in told.values()} == {1}
    assert "validation_accuracy" in told


@pytest.mark.parametrize("lines", [b"\xef\xbb\xbfphotos/1.png\n", b"\xef\xbb\xbfphotos/1.png\r\n"])
def test_a_list_may_begin_with_a_byte_order_mark(made: Path, tmp_path: Path, lines: bytes) -> None:
    (tmp_path / "list").write_bytes(lines)
    done = shell(f"fer predict -m model.h5 --detector none --files-from {tmp_path}/list", made)
    assert [row["source"] for row in rows(done.stdout)] == ["photos/1.png"]


def test_a_word_that_is_nearly_known_is_told() -> None:
    _, told = fer("train", "--model", "nkoju", "x.h5", status=2)
    assert "Invalid value for '--model': there is no 'nkoju'; did you mean 'njoku'?" in told


def test_the_model_that_comes_along_is_told_by_a_name_that_is_nearly_its(made: Path) -> None:
    for line in ("predict -m defualt photos", "eval -m defualt --split all faces.h5", "info defualt"):
        done = shell(f"fer {line}", made)
        assert done.returncode == 1
        assert done.stderr.endswith("error: defualt does not exist; did you mean 'default'?\n")


def test_what_nests_too_deep_is_no_baseline(made: Path, tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    words = ("--split", "all", "--baseline", tmp_path / "deep.json")
    _, told = fer("eval", made / "predictions.h5", *words, status=1)
    assert told.endswith("deep.json is neither a predictions store nor the --json of an earlier fer eval\n")


def test_a_compressed_table_is_to_be_decompressed(tmp_path: Path) -> None:
    table = io.BytesIO()
    with gzip.GzipFile(fileobj=table, mode="wb") as file:
        file.write(b"emotion,pixels,Usage\n" + b"0,1 2 3 4,Training\n" * 50)
    (tmp_path / "f.csv.gz").write_bytes(table.getvalue())
    _, told = fer("ingest", tmp_path / "f.csv.gz", status=1)
    assert told.endswith(f"{tmp_path}/f.csv.gz: it is compressed, and no tar archive: decompress it first\n")


def test_a_table_whose_lines_end_as_on_old_systems_is_told_in_a_few_words(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_bytes(b"emotion,pixels,Usage\r" + b"0,1 2 3 4,Training\r" * 100_000)
    _, told = fer("ingest", tmp_path / "f.csv", "--layout", "fer2013", status=1)
    assert told.endswith(": its lines end in a carriage return alone: convert them with tr '\\r' '\\n'\n")
    assert len(told) < 600


def test_a_gate_that_could_not_fail_is_refused(made: Path) -> None:
    words = ("--split", "all", "--baseline", made / "predictions.h5", "--alpha", "0")
    _, told = fer("eval", made / "predictions.h5", *words, status=2)
    assert "--alpha is 0.0, but it takes 0.0001 to 1" in told


def test_a_folder_of_a_recipe_may_begin_with_a_dash(made: Path) -> None:
    done = shell("fer recipe run njoku --data synthetic:30 -o -odd --dry-run", made)
    assert (done.returncode, done.stderr) == (0, "")
    assert "./-odd/" in done.stdout
    assert " -odd" not in done.stdout


@pytest.mark.parametrize("baseline", ["predictions.h5", "figures.json"])
def test_a_baseline_comes_out_of_a_pipe(made: Path, baseline: str) -> None:
    assert shell("fer eval predictions.h5 --split all --json > figures.json", made).returncode == 0
    done = shell(f"fer eval predictions.h5 --split all --baseline <(cat {baseline})", made)
    assert (done.returncode, done.stderr) == (0, "")
    assert "as in /dev/fd/" in done.stdout


def test_weights_and_models_come_out_of_pipes(made: Path, tmp_path: Path) -> None:
    words = "train -q --model njoku --epochs 1 --init {0} --teacher {0} faces.h5 -o {1}"
    told = []
    for model, target in (("model.h5", tmp_path / "named.h5"), ("<(cat model.h5)", tmp_path / "piped.h5")):
        done = shell(f"fer {words.format(model, target)} && fer eval -m <(cat {target}) faces.h5 --split all", made)
        assert (done.returncode, done.stderr) == (0, "")
        told.append(done.stdout)
    assert told[0] == told[1] != ""


def test_what_a_named_pipe_held_is_another_thing_for_the_next_one(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        os.mkfifo(tmp_path / "pipe")
        with subprocess.Popen(["bash", "-c", f"echo -n {text.decode()} > {shlex.quote(str(tmp_path / 'pipe'))}"]):
            for _ in range(2):
                with opened(str(tmp_path / "pipe")) as file:
                    assert file.read() == text
        (tmp_path / "pipe").rename(tmp_path / text.decode())


def test_rows_that_do_not_fit_are_told_though_python_keeps_no_buffer(made: Path, tmp_path: Path) -> None:
    rows = "PYTHONUNBUFFERED=1 python -m fercli predict -q faces.h5 -m model.h5 --format jsonl"
    done = shell(f"ulimit -f 4; {rows} > {tmp_path}/rows.jsonl", made)
    sentence = "standard output grew over the file size limit: raise it with ulimit -f"
    assert (done.returncode, done.stderr) == (1, f"fer predict: error: {sentence}\n")


def test_a_model_comes_on_standard_input(made: Path) -> None:
    done = shell("cat model.h5 | fer eval -m - faces.h5 --split test --json", made)
    named = shell("fer eval -m model.h5 faces.h5 --split test --json", made)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["accuracy"] == json.loads(named.stdout)["accuracy"]


def test_a_photo_comes_out_of_a_pipe(made: Path) -> None:
    done = shell("fer predict -q --detector none -m model.h5 <(cat photos/0.png)", made)
    (row,) = rows(done.stdout)
    (named,) = rows(shell("fer predict -q --detector none -m model.h5 photos/0.png", made).stdout)
    assert row["source"].startswith("/dev/fd/")
    assert row["probabilities"] == named["probabilities"]


def test_a_pipe_among_photos_is_not_waited_for(made: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    done = shell(f"fer predict -q --detector none -m model.h5 photos/0.png {tmp_path}/pipe.jpg", made)
    assert done.returncode == 4
    assert [row["error"] for row in rows(done.stdout)] == [None, "it is not a regular file"]


def test_weights_of_a_detector_come_out_of_a_pipe(made: Path) -> None:
    """The digest that the store records is that of what came."""
    told = shell("fer detect -q --detector mtcnn --weights <(cat model.h5) faces.h5 -o x.h5", made)
    assert "/dev/fd/" in told.stderr
    assert "holds no weights of mtcnn" in told.stderr
    told = shell("fer detect -q --detector yunet --weights <(echo none) faces.h5 -o x.h5", made)
    assert re.match(r"fer detect: error: /dev/fd/\d+ is no ONNX model that OpenCV [\d.]+ can read\n", told.stderr)
    with opened(str(made / "model.h5")) as file:
        expected = hashlib.blake2b(file.read(), digest_size=16).hexdigest()
    os.mkfifo(made / "weights")
    with subprocess.Popen(["bash", "-c", f"cat {made}/model.h5 > {made}/weights"]):
        assert weights_digest(DetectSpec(weights=str(made / "weights"))) == [expected]
    assert weights_digest(DetectSpec(weights=str(made / "weights"))) == [expected]


def test_weights_come_out_of_a_named_pipe(made: Path, tmp_path: Path) -> None:
    train = f"fer train -q --model njoku --epochs 1 --init {tmp_path}/w.safetensors faces.h5 -o {tmp_path}/m.h5"
    line = f"fer export -q model.h5 -o {tmp_path}/m.safetensors; mkfifo {tmp_path}/w.safetensors"
    done = shell(f"{line}; cat {tmp_path}/m.safetensors > {tmp_path}/w.safetensors & {train}", made)
    assert (done.returncode, done.stderr) == (0, "")
