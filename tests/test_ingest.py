"""The ingest stage: what lands in the store, what is refused, and that nothing is lost on the way."""

import io
import os
import struct
import tarfile
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fercli.errors import DataError, FerError, UsageError
from fercli.labels import EMOTIONS
from fercli.layouts import open_source
from fercli.layouts.files import Files, Folder, Sheet
from fercli.ops.image import digest
from fercli.stages.ingest import IngestSpec, digests, resolve, run
from fercli.stages.runner import Log, Outcome, Silent, Stage
from fercli.stages.runner import run as run_stage
from fercli.store import open_store
from tests.test_layouts import SAMPLES
from tests.trees import pack, photo, pixels, plant, tar_of


class Heard(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rows = self.expected = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def total(self, rows: int) -> None:
        self.expected = rows

    def advance(self, rows: int) -> None:
        self.rows += rows


@dataclass
class Ingested:
    """What a run wrote and said."""

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    columns: dict[str, np.ndarray]
    outcome: Outcome
    heard: Heard

    @property
    def sources(self) -> list[str]:
        return self.columns["source"].tolist()

    @property
    def labels(self) -> list[str]:
        return [self.classes[label] if label >= 0 else "" for label in self.columns["label"]]


def start(
    target: Path, sources: list, on_error: str = "fail", force: bool = True, **settings: Any
) -> tuple[Outcome, Heard]:
    spec, heard = IngestSpec(**settings), Heard()
    outcome = run_stage(
        Stage("ingest", run), sources, str(target), spec, Log(on_error, heard),
        digests=lambda: digests(sources, spec), force=force,
    )  # fmt: skip
    return outcome, heard


def ingest(tmp_path: Path, *paths: Path | str, on_error: str = "fail", **settings: Any) -> Ingested:
    outcome, heard = start(tmp_path / "out.h5", resolve([str(path) for path in paths]), on_error, **settings)
    with open_store(str(tmp_path / "out.h5")) as store:
        columns = {name: store.column(name) for name in store.columns}
        return Ingested(store.classes, store.channels, columns, outcome, heard)


def refusal(tmp_path: Path, *paths: Path | str, error: type[FerError] = DataError, **settings: Any) -> str:
    with pytest.raises(error) as caught:
        ingest(tmp_path, *paths, **settings)
    assert not (tmp_path / "out.h5").exists()
    return str(caught.value)


# What lands in the store


def test_photos_of_one_name_in_several_folders_keep_apart(tmp_path: Path):
    for day in ("monday", "tuesday"):
        plant(tmp_path / day, {"happy/1.png": photo(len(day)), "sad/1.png": photo(len(day) + 1)})
    found = ingest(tmp_path, tmp_path / "monday", tmp_path / "tuesday")
    assert found.sources == [
        f"{tmp_path}/{day}/{emotion}/1.png" for day in ("monday", "tuesday") for emotion in ("happy", "sad")
    ]


def test_the_digest_of_a_list_is_that_of_its_photos_in_order(tmp_path: Path):
    names = [f"{number}.png" for number in range(20)]
    plant(tmp_path, {name: photo(number) for number, name in enumerate(names)})
    plant(tmp_path, {"list.csv": "path,label\n" + "".join(f"{name},happy\n" for name in names)})
    before = digests(resolve([str(tmp_path / "list.csv")]), IngestSpec())
    sheet = open_source(str(tmp_path / "list.csv"))
    state = blake2b(bytes.fromhex(sheet.digest() + sheet._named.digest(names)), digest_size=16)
    assert before == [state.hexdigest()]


def test_a_file_that_is_no_store_is_not_replaced(tmp_path: Path):
    """As by `-o data/*.csv`, which names the first of them."""
    folder, target = plant(tmp_path / "d", SAMPLES["fer2013"].files), tmp_path / "out.h5"
    target.write_text("emotion,pixels")
    sources = resolve([str(folder)])
    with pytest.raises(UsageError) as caught:
        start(target, sources, force=False)
    assert (
        str(caught.value) == f"{target} is there and is no store of samples: name another file with -o, or add --force"
    )
    assert target.read_text() == "emotion,pixels"
    target.write_bytes(b"")  # nothing would be lost
    start(target, sources, force=False)


def test_a_csv_becomes_dense_rows(tmp_path: Path):
    found = ingest(tmp_path, plant(tmp_path / "d", SAMPLES["fer2013"].files))
    assert (found.classes, found.channels) == (EMOTIONS, ("gray",))
    assert set(found.columns) == {"image", "label", "split", "source", "digest"}
    assert found.columns["image"].shape == (3, 48, 48)
    assert found.columns["image"][1].ravel()[:3].tolist() == [9, 10, 11]
    assert found.labels == ["angry", "neutral", "happy"]
    assert found.columns["split"].tolist() == [0, 1, 2]
    assert found.sources == ["fer2013.csv:1", "fer2013.csv:2", "fer2013.csv:3"]
    assert found.columns["digest"][2].tobytes() == digest(found.columns["image"][2])
    assert found.heard.notes == [
        f"{tmp_path}/d: layout fer2013, classes angry, disgust, fear, happy, sad, surprise, neutral"
    ]
    assert found.heard.rows == 3


def test_gray_photos_of_one_size_become_dense_rows(tmp_path: Path):
    files = {"sad/b.png": photo(10), "sad/a.png": photo(20), "angry/c.jpg": photo(30, suffix=".jpg")}
    found = ingest(tmp_path, plant(tmp_path / "d", files))
    assert found.sources == ["angry/c.jpg", "sad/a.png", "sad/b.png"]
    assert found.labels == ["angry", "sad", "sad"]
    assert found.columns["image"][1:, 40, 40].tolist() == [20, 10]
    assert (found.heard.rows, found.heard.expected) == (3, 3)


def test_photos_in_colour_keep_their_bytes(tmp_path: Path):
    files = {"a.jpg": photo(10, (30, 20, 3), ".jpg"), "b.png": photo(20, (50, 60))}
    files["a.jpg"] = cv2.imencode(".jpg", np.arange(1800, dtype=np.uint8).reshape(30, 20, 3))[1].tobytes()
    found = ingest(tmp_path, plant(tmp_path / "d", files))
    assert (found.classes, found.channels) == ((), ())
    assert set(found.columns) == {"encoded", "height", "width", "source", "digest"}
    assert found.columns["encoded"].tolist() == [files["a.jpg"], files["b.png"]]
    assert found.columns["height"].tolist() == [30, 50]
    assert found.columns["width"].tolist() == [20, 60]


@pytest.mark.parametrize("odd", [(48, 48, 3), (48, 50), (300, 300)])
def test_one_photo_that_does_not_fit_makes_all_keep_their_bytes(odd: tuple[int, ...], tmp_path: Path):
    files = {f"{at:03}.png": photo(at % 256) for at in range(100)}
    files["050.png"] = b"damaged"
    files["099.png"] = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, odd, np.uint8))[1].tobytes()
    found = ingest(tmp_path, plant(tmp_path / "d", files), on_error="skip")
    good = [name for name in sorted(files) if name != "050.png"]
    assert found.sources == good
    assert found.columns["encoded"].tolist() == [files[name] for name in good]
    assert found.outcome.failures == [("050.png", "the file is not a JPEG, PNG, BMP, GIF, TIFF or WebP image")]
    assert found.heard.rows == 99  # none counted twice


def test_large_gray_photos_of_one_size_keep_their_bytes(tmp_path: Path):
    files = {"a.png": photo(1, (257, 256)), "b.png": photo(2, (257, 256))}
    assert "encoded" in ingest(tmp_path, plant(tmp_path / "d", files)).columns


def test_equal_channels_are_gray(tmp_path: Path):
    found = ingest(tmp_path, plant(tmp_path / "d", SAMPLES["jaffe"].files))
    assert found.columns["image"].shape == (3, 256, 256)
    assert found.columns["subject"].tolist() == ["KA", "KA", "YM"]
    assert len(np.unique(found.columns["digest"], axis=0)) == 1  # one picture, three files, of 1 and of 3 channels


def test_boxes_and_attributes_and_sequences_are_stored(tmp_path: Path):
    faces = ingest(tmp_path, plant(tmp_path / "e", SAMPLES["expw"].files), on_error="skip")
    assert faces.columns["box"].tolist() == [[113, 28, 113, 113], [20, 10, 40, 40], [6, 5, 1, 3]]
    assert [source for source, _ in faces.outcome.failures] == [f"label/label.lst:{row}" for row in (4, 5, 6)]
    people = ingest(tmp_path, plant(tmp_path / "u", SAMPLES["utkface"].files), on_error="skip", attribute=("age",))
    assert people.columns["attribute/age"].tolist() == [25, 61, 9]
    clips = ingest(tmp_path, plant(tmp_path / "c", SAMPLES["ckplus"].files), frames=1)
    assert clips.columns["sequence"].tolist() == ["S005_001", "S010_002"]


@pytest.mark.parametrize("layout", SAMPLES)
def test_an_archive_gives_the_rows_of_the_folder(layout: str, tmp_path: Path):
    folder = plant(tmp_path / "d", SAMPLES[layout].files)
    first, second = (ingest(tmp_path, path, on_error="skip") for path in (folder, pack(folder, "tar.xz")))
    assert first.classes == second.classes
    assert first.columns.keys() == second.columns.keys()
    for name, values in first.columns.items():
        np.testing.assert_array_equal(values, second.columns[name])


def test_drawn_scenes_keep_their_bytes(tmp_path: Path):
    found = ingest(tmp_path, "synthetic:2:scenes", plant(tmp_path / "d", {"a.png": photo()}))
    assert len(found.columns["encoded"]) == 3
    assert found.sources[-1] == "a.png"


def test_ferplus_brings_votes_and_counts_as_an_input(tmp_path: Path):
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    csv = plant(tmp_path, {"f.csv": f"emotion,pixels,Usage\n0,{pixels(4)},Training\n"}) / "f.csv"
    votes = plant(tmp_path, {"v.csv": header + "Training,,0,0,0,0,0,0,0,10,0,0\n"}) / "v.csv"
    found = ingest(tmp_path, csv, ferplus=str(votes))
    assert found.labels == ["contempt"]
    assert found.columns["votes"].tolist() == [[0, 0, 0, 0, 0, 0, 0, 1]]
    spec = IngestSpec(ferplus=str(votes))
    before = digests(resolve([str(csv)]), spec)
    plant(tmp_path, {"v.csv": header + "Training,,0,10,0,0,0,0,0,0,0,0\n"})
    assert digests(resolve([str(csv)]), spec) != before


# One run


def test_same_command_same_bytes(tmp_path: Path):
    folder = plant(tmp_path / "d", {f"{name}/{at}.png": photo(at) for name in EMOTIONS for at in range(20)})
    written = []
    for _ in range(2):
        ingest(tmp_path, folder)
        written.append((tmp_path / "out.h5").read_bytes())
    assert written[0] == written[1]


def test_a_store_that_is_up_to_date_is_left_alone(tmp_path: Path):
    folder = plant(tmp_path / "d", {"a.png": photo(1), "b.png": photo(2), "notes.txt": "one"})
    target = tmp_path / "out.h5"

    def again() -> bool:
        return start(target, resolve([str(folder)]), force=False)[0].up_to_date

    assert [again(), again()] == [False, True]
    plant(folder, {"notes.txt": "two"})
    assert again()  # it is no part of the rows
    plant(folder, {"b.png": photo(3)})
    assert [again(), again()] == [False, True]


def test_a_csv_in_a_folder_is_up_to_date_until_it_changes(tmp_path: Path):
    row = f"0,{pixels(4)},Training\n"
    folder = plant(tmp_path / "d", {"fer2013.csv": f"emotion,pixels,Usage\n{row}", "README": "one"})

    def again() -> bool:
        return start(tmp_path / "out.h5", resolve([str(folder)]), force=False)[0].up_to_date

    assert [again(), again()] == [False, True]
    plant(folder, {"fer2013.csv": f"emotion,pixels,Usage\n{row}{row}"})
    assert [again(), again()] == [False, True]


def test_several_sources_are_joined_by_class_name(tmp_path: Path):
    first = plant(tmp_path / "d", {"sad/a.png": photo(1), "happy/b.png": photo(2)})
    second = plant(tmp_path / "e", {"anger/a.png": photo(3), "sadness/b.png": photo(4), "bored/c.png": photo(5)})
    found = ingest(tmp_path, first, pack(second, "zip"))
    assert found.classes == ("angry", "happy", "sad", "bored")
    assert found.labels == ["happy", "sad", "angry", "bored", "sad"]
    assert found.columns["image"].shape == (5, 48, 48)


def test_sources_that_tell_different_things_are_refused(tmp_path: Path):
    first, second = plant(tmp_path / "d", {"sad/a.png": photo()}), plant(tmp_path / "e", {"b.png": photo()})
    assert refusal(tmp_path, first, second) == (
        f"{first} and {second} cannot be rows of one store: only one of them has label; ingest them into two"
    )


def test_pixels_and_photos_in_colour_are_refused(tmp_path: Path):
    csv = plant(tmp_path, {"f.csv": f"emotion,pixels,Usage\n0,{pixels(2304)},Training\n"}) / "f.csv"
    folder = plant(tmp_path / "d", {"train/sad/a.png": photo(1, (48, 50))})
    assert refusal(tmp_path, csv, folder) == (
        f"{csv} holds pixels, and another source photos in colour or of another size: ingest them into two stores"
    )


def test_a_source_given_twice_is_refused(tmp_path: Path):
    folder = plant(tmp_path / "d", {"a.png": photo()})
    told = refusal(tmp_path, folder, f"{tmp_path}/d/../d/", error=UsageError)
    assert told == f"{tmp_path}/d/../d/ is given twice"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ferplus": "votes.csv"}, "--ferplus means nothing to the layout folder: leave it out"),
        ({"frames": 2}, "--frames means nothing to the layout folder: leave it out"),
        ({"attribute": ("age",)}, "--attribute means nothing to the layout folder: leave it out"),
        ({"layout": "jafe"}, "--layout is 'jafe'; did you mean 'jaffe'?"),
        ({"frames": 0}, "--frames is 0, but it takes at least 1"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], told: str, tmp_path: Path):
    folder = plant(tmp_path / "d", {"a.png": photo()})
    assert refusal(tmp_path, folder, error=UsageError, **settings) == told


def test_a_store_is_not_ingested_again(tmp_path: Path):
    found = ingest(plant(tmp_path, {"d/a.png": photo()}), tmp_path / "d")
    assert found.outcome.rows == 1
    store = tmp_path / "out.h5"
    with pytest.raises(UsageError, match=f"^{store} is a store already: give it to the stage after fer ingest$"):
        resolve([str(store)])


def test_a_list_of_photos_beside_it(tmp_path: Path):
    rows = "path,label\na.png,joy\nc.png,sad\nb.png,sad\n"
    path = plant(tmp_path / "d", {"a.png": photo(1), "b.png": photo(2), "l.csv": rows}) / "l.csv"
    reason = f"there is no {tmp_path}/d/c.png: paths are seen from the folder of {path}"
    assert refusal(tmp_path, path) == f"c.png: {reason}; leave such rows out with --on-error skip"
    found = ingest(tmp_path, path, on_error="skip")
    assert (found.sources, found.labels) == (["a.png", "b.png"], ["happy", "sad"])
    assert found.outcome.failures == [("c.png", reason)]
    plant(tmp_path / "d", {"c.png": photo(3)})
    assert not start(tmp_path / "out.h5", resolve([str(path)]), force=False)[0].up_to_date
    assert start(tmp_path / "out.h5", resolve([str(path)]), force=False)[0].up_to_date
    plant(tmp_path / "d", {"b.png": photo(4)})
    assert not start(tmp_path / "out.h5", resolve([str(path)]), force=False)[0].up_to_date


def test_places_without_photos(tmp_path: Path):
    folder = plant(tmp_path / "d", {"notes.txt": "no photo"})
    title = "photos in class sub-folders, or flat and unlabelled; train/, val/, test/ above them, or in each of them"
    assert refusal(tmp_path, folder) == f"{folder} holds no photos of the layout folder ({title})"
    assert refusal(tmp_path, folder / "notes.txt") == (
        f"{folder}/notes.txt is no photo, archive or csv of a data set that is known: fer ingest -h lists these"
    )
    assert refusal(tmp_path, plant(folder, {"a.csv": "emotion;pixels\n"}) / "a.csv") == (
        f"{folder}/a.csv is no csv of a data set that is known: fer ingest -h lists these. One of pixels has columns "
        f"emotion and pixels, parted by commas, one of photos path and label; the first line here is 'emotion;pixels'"
    )
    told = refusal(tmp_path, plant(folder, {"list.csv": "path,label\n"}) / "list.csv")
    assert told.startswith(f"{folder}/list.csv holds no photos of the layout list (a csv or tsv with a column path")
    chosen = refusal(tmp_path, folder / "notes.txt", layout="folder")
    assert chosen == f"{folder}/notes.txt holds no photos of the layout folder ({title})"
    told = refusal(tmp_path, tmp_path / "nowhere")
    assert told == f"{tmp_path}/nowhere: it cannot be read: No such file or directory"
    with pytest.raises(UsageError, match="there is nothing to ingest"):
        resolve([])


def test_a_chosen_layout_reports_what_is_not_of_it(tmp_path: Path):
    folder = plant(tmp_path / "d", {"a.png": photo()})
    assert refusal(tmp_path, folder, layout="jaffe") == (
        "a.png: its name is not of the form KA.AN1.39.tiff; leave such rows out with --on-error skip"
    )
    assert refusal(tmp_path, folder, layout="jaffe", on_error="skip") == "fer ingest found no rows to write"


# Lists of photos


def test_photos_named_one_by_one_are_one_source(tmp_path: Path):
    folder = plant(tmp_path, {"a.png": photo(1), "sad/b.png": photo(2), "d/c.png": photo(3)})
    names = [str(folder / "sad" / "b.png"), str(folder / "a.png")]
    sources = resolve([*names, str(folder / "d")])
    assert [type(source) for source in sources] == [Files, Folder]
    found = ingest(tmp_path, *names)
    assert found.sources == names  # as given, in the order given
    assert found.classes == ()


@pytest.mark.parametrize("null", [False, True])
def test_a_list_of_photos(null: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    raw = [b"b.png", b"h\xe4ppy.png"] + ([b"two\nlines.png"] if null else [])
    for name in raw:
        plant(tmp_path, {os.fsdecode(name): photo()})
    monkeypatch.chdir(tmp_path)
    data = b"\0".join(raw) + b"\0" if null else b"\r\n".join(raw) + b"\n\n"
    plant(tmp_path, {"list": data})
    assert resolve([], "list", null)[0].names() == list(map(os.fsdecode, raw))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    sources = resolve([], "-", null)
    start(tmp_path / "out.h5", sources)
    with open_store(str(tmp_path / "out.h5")) as store:
        assert [os.fsencode(name) for name in store.column("source")] == raw


def test_lists_with_wrong_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(plant(tmp_path, {"a.png": photo(), "list": "a.png\ngone.png\na.png\n", "none": "\n"}))
    outcome, _ = start(tmp_path / "out.h5", resolve([], "list"), "skip")
    assert outcome.failures == [
        ("a.png", "it is named twice"),
        ("gone.png", "it cannot be read: No such file or directory"),
    ]
    assert outcome.rows == 1
    with pytest.raises(DataError, match=r"^none lists no photos$"):
        resolve([], "none")
    with pytest.raises(DataError, match=r"^nowhere: it cannot be read: No such file or directory$"):
        resolve([], "nowhere")


def test_nothing_in_a_list_is_dropped_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A photo's name need not say that it is one, and what is none is told."""
    monkeypatch.chdir(plant(tmp_path, {"scan": photo(), "notes.txt": "none", "list": "scan\nnotes.txt\n"}))
    outcome, _ = start(tmp_path / "out.h5", resolve([], "list"), "skip")
    assert outcome.rows == 1
    assert [source for source, _ in outcome.failures] == ["notes.txt"]


# Bad photos


def png(height: int, width: int) -> bytes:
    """A PNG that declares a size and holds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


BAD = {
    "empty.png": (b"", "the file is empty (zero bytes)"),
    "cut.png": (photo()[:-20], "the image is cut off before its end (PNG, {size} bytes)"),
    "cut.jpg": (photo(suffix=".jpg")[:-200], "the image is cut off before its end (JPEG, {size} bytes)"),
    "text.jpg": (b"not a photo", "the file is not a JPEG, PNG, BMP, GIF, TIFF or WebP image"),
    "bomb.png": (
        png(60000, 60000),
        "the PNG header declares 60000x60000 pixels, more than the 120,000,000 that are accepted",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_photos(name: str, tmp_path: Path):
    data, reason = BAD[name]
    reason = reason.format(size=len(data))
    folder = plant(tmp_path / "d", {"sad/1.png": photo(1), f"sad/{name}": data, "sad/z.png": photo(2)})
    assert refusal(tmp_path, folder) == f"sad/{name}: {reason}; leave such rows out with --on-error skip"
    for source in (folder, pack(folder, "zip")):
        found = ingest(tmp_path, source, on_error="skip")
        assert found.outcome.failures == [(f"sad/{name}", reason)]
        assert found.sources == ["sad/1.png", "sad/z.png"]


def test_unusual_photos_that_are_fine(tmp_path: Path):
    rng = np.random.default_rng(3)
    files = {
        "one.png": photo(7, (1, 1)),
        "deep.png": cv2.imencode(".png", rng.integers(0, 65536, (9, 8), np.uint16))[1].tobytes(),
        "alpha.png": cv2.imencode(".png", rng.integers(0, 256, (9, 8, 4), np.uint8))[1].tobytes(),
        "moves.gif": b"GIF89a\x02\0\x01\0\xf0\0\0\0\0\0\xff\0\0" + 2 * b",\0\0\0\0\x02\0\x01\0\0\x02\x02D\n\0" + b";",
    }
    found = ingest(tmp_path, plant(tmp_path / "d", files))
    assert found.sources == ["alpha.png", "deep.png", "moves.gif", "one.png"]
    assert found.columns["height"].tolist() == [9, 9, 1, 1]
    assert found.columns["encoded"].tolist() == [files[name] for name in found.sources]


def test_an_archive_that_points_outside_writes_nothing(tmp_path: Path):
    path = tar_of(tmp_path / "a.tar", tarfile.TarInfo("../a.png"), content=photo())
    assert refusal(tmp_path, path).startswith(f"{path} is refused: its member '../a.png' points outside the archive; ")


def test_bad_rows_of_a_csv(tmp_path: Path):
    text = f"emotion,pixels,Usage\n0,{pixels(2304)},Training\n0,{pixels(2303)},Training\n7,{pixels(2304)},Training\n"
    csv = plant(tmp_path, {"f.csv": text}) / "f.csv"
    assert refusal(tmp_path, csv) == (
        "f.csv:2: it has 2303 pixels, but 48x48 images have 2304; leave such rows out with --on-error skip"
    )
    found = ingest(tmp_path, csv, on_error="skip")
    assert found.sources == ["f.csv:1"]
    assert [source for source, _ in found.outcome.failures] == ["f.csv:2", "f.csv:3"]


def test_single_files_are_streamed(tmp_path: Path):
    csv = plant(tmp_path, {"f.csv": f"emotion,pixels,Usage\n0,{pixels(4)},Training\n"}) / "f.csv"
    assert isinstance(open_source(str(csv)), Sheet)


# Real data


def test_real_fer2013_in_a_tar(fer2013: Path):
    with open_store(fer2013) as found:
        assert found.classes == EMOTIONS
        assert (found.rows, found.shape("image")) == (32298, (48, 48))
        split, label = found.column("split"), found.column("label")
    assert np.bincount(split).tolist() == [28709, 3589]
    assert dict(zip(EMOTIONS, np.bincount(label[split == 0]).tolist(), strict=True)) == {
        "angry": 3995, "disgust": 436, "fear": 4097, "happy": 7215, "sad": 4830, "surprise": 3171, "neutral": 4965,
    }  # fmt: skip
