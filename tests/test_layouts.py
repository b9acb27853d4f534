"""Every layout on a small tree in the exact published format, in a folder and inside archives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fercli.errors import DataError, FerError, UsageError
from fercli.labels import EMOTIONS, EMOTIONS_CONTEMPT
from fercli.layouts import Listing, Options, Table, get, names, open_source, recognise
from fercli.store import Block, concatenate
from tests.trees import ARCHIVES, pack, photo, pixels, plant

CK_CLASSES = tuple(name for name in EMOTIONS_CONTEMPT if name != "neutral")
FERPLUS_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
)
BOX = "134,134,899,899,181.64;530.91;188.32;627.82"


@dataclass
class Sample:
    """A tree, the classes that its layout gives, and its rows: (source, class, split, subject, sequence, box)."""

    files: dict[str, bytes | str]
    classes: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def row(
    source: str, emotion: str = "", split: str = "", subject: str = "", sequence: str = "", box: Any = None
) -> tuple:
    return source, emotion, split, subject, sequence, box


SAMPLES: dict[str, Sample] = {
    "folder": Sample(
        {
            "fer2013/train/angry/Training_10118481.jpg": photo(suffix=".jpg"),
            "fer2013/train/neutral/Training_10002154.jpg": photo(suffix=".jpg"),
            "fer2013/validation/sad/PublicTest_10077120.jpg": photo(suffix=".jpg"),
            "fer2013/test/happy/PrivateTest_10131363.jpg": photo(suffix=".jpg"),
            "fer2013/readme.txt": "not a photo",
            "fer2013/train/angry/Thumbs.db": "litter",
            "fer2013/.DS_Store": "litter",
            "__MACOSX/fer2013/train/angry/._Training_10118481.jpg": "litter",
        },
        ("angry", "happy", "sad", "neutral"),
        [
            row("fer2013/test/happy/PrivateTest_10131363.jpg", "happy", "test"),
            row("fer2013/train/angry/Training_10118481.jpg", "angry", "train"),
            row("fer2013/train/neutral/Training_10002154.jpg", "neutral", "train"),
            row("fer2013/validation/sad/PublicTest_10077120.jpg", "sad", "val"),
        ],
        notes=["files left out, being no photos: 1 (.txt)"],
    ),
    "fer2013": Sample(
        {
            "fer2013.csv": f"emotion,pixels,Usage\n0,{pixels(2304)},Training\n6,{pixels(2304, 9)},PublicTest\n"
            f"3,{pixels(2304, 7)},PrivateTest\n",
            "README": "fer2013.csv holds the images",
        },
        EMOTIONS,
        [
            row("fer2013.csv:1", "angry", "train"),
            row("fer2013.csv:2", "neutral", "val"),
            row("fer2013.csv:3", "happy", "test"),
        ],
    ),
    "list": Sample(
        {
            "mine/labels.csv": "\ufeffFile;Emotion;split;person;note\r\nimg/a.png;Happiness;train;p1;x\r\n"
            '"img/b; c.png";;Validation;p2;\nimg\\d.png; ANGRY ;test;p1;x\n\nimg/e.png;happy;test;p3\n'
            "img/none.png;sad;train;p1;\nimg/a.png;sad;later;p1;\n;sad;train;p1;\n",
            **{f"mine/img/{name}.png": photo() for name in ("a", "b; c", "d", "e", "f")},
        },
        ("angry", "happy"),
        [
            row("mine/img/a.png", "happy", "train", "p1"),
            row("mine/img/b; c.png", "", "val", "p2"),
            row("mine/img/d.png", "angry", "test", "p1"),
            row("mine/img/e.png", "happy", "test", "p3"),
        ],
        [
            ("mine/labels.csv:5", "there is no photo mine/img/none.png"),
            ("mine/labels.csv:6", "its split is 'later', not one of train, val and test"),
            ("mine/labels.csv:7", "it names no photo"),
        ],
        ["photos that no row names, left out: 1"],
    ),
    "ckplus": Sample(
        {
            **{f"cohn-kanade-images/S005/001/S005_001_0000000{at}.png": photo(at) for at in range(1, 6)},
            **{f"cohn-kanade-images/S010/002/S010_002_0000000{at}.png": photo(at) for at in range(1, 3)},
            **{f"cohn-kanade-images/S011/001/S011_001_0000000{at}.png": photo(at) for at in range(1, 3)},
            "Emotion/S005/001/S005_001_00000005_emotion.txt": "   3.0000000e+00\n",
            "Emotion/S010/002/S010_002_00000002_emotion.txt": "   7.0000000e+00\n",
        },
        CK_CLASSES,
        [
            row(f"cohn-kanade-images/S005/001/S005_001_0000000{at}.png", "disgust", "", "S005", "S005_001")
            for at in (3, 4, 5)
        ]
        + [
            row(f"cohn-kanade-images/S010/002/S010_002_0000000{at}.png", "surprise", "", "S010", "S010_002")
            for at in (1, 2)
        ],
        notes=["sequences left out, having no label: 1"],
    ),
    "ck48": Sample(
        {
            "CK+48/anger/S010_004_00000017.png": photo(),
            "CK+48/contempt/S138_008_00000007.png": photo(),
            "CK+48/happy/S010_006_00000013.png": photo(),
        },
        ("angry", "happy", "contempt"),
        [
            row("CK+48/anger/S010_004_00000017.png", "angry", "", "S010", "S010_004"),
            row("CK+48/contempt/S138_008_00000007.png", "contempt", "", "S138", "S138_008"),
            row("CK+48/happy/S010_006_00000013.png", "happy", "", "S010", "S010_006"),
        ],
    ),
    "jaffe": Sample(
        {
            "jaffe/KA.AN1.39.tiff": photo(size=(256, 256), suffix=".tiff"),
            "jaffe/KA.NE2.27.tiff": photo(size=(256, 256, 3), suffix=".tiff"),
            "jaffe/YM.FE4.70.tiff": photo(size=(256, 256), suffix=".tiff"),
            "jaffe/README_FIRST.txt": "conditions of use",
        },
        EMOTIONS,
        [
            row("jaffe/KA.AN1.39.tiff", "angry", "", "KA"),
            row("jaffe/KA.NE2.27.tiff", "neutral", "", "KA"),
            row("jaffe/YM.FE4.70.tiff", "fear", "", "YM"),
        ],
    ),
    "rafdb": Sample(
        {
            "basic/EmoLabel/list_patition_label.txt": "train_00001.jpg 5\ntrain_00002.jpg 1\ntest_0001.jpg 7\n"
            "test_0002.jpg 8\ntest_0003.jpg 2\n",
            "basic/Image/aligned/train_00001_aligned.jpg": photo(1, (100, 100, 3)),
            "basic/Image/original/train_00001.jpg": photo(1, (200, 150, 3)),
            "basic/Image/original/train_00002.jpg": photo(2, (200, 150, 3)),
            "basic/Image/aligned/test_0001_aligned.jpg": photo(3, (100, 100, 3)),
            "basic/Image/aligned/test_0002_aligned.jpg": photo(3, (100, 100, 3)),
            "compound/EmoLabel/list_patition_label.txt": "train_0001.jpg 11\n",
        },
        EMOTIONS,
        [
            row("basic/Image/aligned/train_00001_aligned.jpg", "sad", "train"),
            row("basic/Image/original/train_00002.jpg", "surprise", "train"),
            row("basic/Image/aligned/test_0001_aligned.jpg", "neutral", "test"),
        ],
        [
            ("basic/EmoLabel/list_patition_label.txt:4", "'test_0002.jpg 8' is not a photo and a code of 1 to 7"),
            (
                "basic/EmoLabel/list_patition_label.txt:5",
                "there is neither basic/Image/aligned/test_0003_aligned.jpg nor basic/Image/original/test_0003.jpg",
            ),
        ],
    ),
    "affectnet": Sample(
        {
            "Manually_Annotated_file_lists/training.csv": AFFECTNET_HEADER
            + f"689/737db2483489148d783ef278f43f486c0a97e140fc4b6b61b84363ca.jpg,{BOX},1,0.785714,-0.055556\n"
            + f"392/c4db2f9b7e4b422d14b6e038f0cdc3ecee239b55326e9181ee4520f9.jpg,{BOX},9,-2,-2\n"
            + f"103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a.jpg,{BOX},11,-2,-2\n"
            + f"103/missing.jpg,{BOX},7,-2,-2\n103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a.jpg,134\n",
            "Manually_Annotated_file_lists/validation.csv": AFFECTNET_HEADER
            + f"103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a.jpg,{BOX},7,-0.1,0.2\n",
            "Manually_Annotated_Images/689/737db2483489148d783ef278f43f486c0a97e140fc4b6b61b84363ca.jpg": photo(1),
            "Manually_Annotated_Images/392/c4db2f9b7e4b422d14b6e038f0cdc3ecee239b55326e9181ee4520f9.jpg": photo(2),
            "Manually_Annotated_Images/103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a.jpg": photo(3),
        },
        EMOTIONS_CONTEMPT,
        [
            row(f"Manually_Annotated_Images/{name}.jpg", emotion, split, box=(134.0, 134.0, 899.0, 899.0))
            for name, emotion, split in (
                ("689/737db2483489148d783ef278f43f486c0a97e140fc4b6b61b84363ca", "happy", "train"),
                ("392/c4db2f9b7e4b422d14b6e038f0cdc3ecee239b55326e9181ee4520f9", "", "train"),
                ("103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a", "contempt", "val"),
            )
        ],
        [
            ("Manually_Annotated_file_lists/training.csv:3", "its expression is 11, not one of 0 to 10"),
            ("Manually_Annotated_file_lists/training.csv:4", "there is no photo 103/missing.jpg"),
            ("Manually_Annotated_file_lists/training.csv:5", "its expression or face box is missing or no number"),
        ],
        ["unlabelled rows (none, uncertain or no face): 1"],
    ),
    "utkface": Sample(
        {
            "UTKFace/25_1_0_20170109213057986.jpg.chip.jpg": photo(1, (200, 200, 3)),
            "UTKFace/61_3_20170109150557335.jpg.chip.jpg": photo(2, (200, 200, 3)),
            "UTKFace/9_0_4_20170103200637399.jpg": photo(3, (200, 200, 3)),
            "UTKFace/face.jpg": photo(4),
        },
        (),
        [
            row("UTKFace/25_1_0_20170109213057986.jpg.chip.jpg"),
            row("UTKFace/61_3_20170109150557335.jpg.chip.jpg"),
            row("UTKFace/9_0_4_20170103200637399.jpg"),
        ],
        [("UTKFace/face.jpg", "its name is not of the form 25_1_0_20170109213057986.jpg")],
    ),
    "kdef": Sample(
        {
            "KDEF/AF01/AF01ANS.JPG": photo(1, (60, 40, 3), ".jpg"),
            "KDEF/AF01/AF01AFFL.JPG": photo(2, (60, 40, 3), ".jpg"),
            "KDEF/BM35/BM35NEHR.JPG": photo(3, (60, 40, 3), ".jpg"),
        },
        EMOTIONS,
        [
            row("KDEF/AF01/AF01AFFL.JPG", "fear", "", "F01"),
            row("KDEF/AF01/AF01ANS.JPG", "angry", "", "F01"),
            row("KDEF/BM35/BM35NEHR.JPG", "neutral", "", "M35"),
        ],
    ),
    "expw": Sample(
        {
            "label/label.lst": "angry_actor_104.jpg 0 28 113 226 141 22.9362 0\n"
            "angry_actor_104.jpg 1 10 20 60 50 31.5 6\nhappy girl_3.jpg 0 5 6 7 8 19.25 3\n"
            "gone.jpg 0 5 6 7 8 19.25 3\nangry_actor_104.jpg 2 28 226 113 141 22.9 0\nangry_actor_104.jpg 3 28\n",
            "image/angry_actor_104.jpg": photo(1, (300, 250, 3), ".jpg"),
            "image/happy girl_3.jpg": photo(1, (30, 25, 3), ".jpg"),
        },
        EMOTIONS,
        [
            row("image/angry_actor_104.jpg", "angry", box=(113, 28, 113, 113)),
            row("image/angry_actor_104.jpg", "neutral", box=(20, 10, 40, 40)),
            row("image/happy girl_3.jpg", "happy", box=(6, 5, 1, 3)),
        ],
        [
            ("label/label.lst:4", "there is no photo gone.jpg"),
            ("label/label.lst:5", "its box from 226,28 to 113,141 is empty"),
            (
                "label/label.lst:6",
                "'angry_actor_104.jpg 3 28' is not a photo, a face, its box, a confidence and a code of 0 to 6",
            ),
        ],
    ),
}


class Heard:
    """A Report that remembers."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def failed(self, source: str, reason: str) -> None:
        self.failures.append((source, reason))

    def note(self, text: str) -> None:
        self.notes.append(text)


def scanned(path: Path, layout: str, **options: Any) -> Sample:
    """What a layout finds in a source that it recognises, in the form of a sample."""
    source = open_source(str(path))
    assert layout == recognise(source).NAME
    found = get(layout).scan(source, Options(**options))
    if isinstance(found, Listing):
        rows = [row(r.name, _name(found, r.label), *r[2:6]) for r in found.records]
        return Sample({}, found.classes, rows, found.failures, found.notes)
    heard, block = table_rows(found)
    splits = ("train", "val", "test")
    told = [splits[split] for split in block["split"]] if "split" in block else [""] * len(block["label"])
    rows = [
        row(source, _name(found, label), split)
        for source, label, split in zip(block["source"], block["label"], told, strict=True)
    ]
    return Sample({}, found.classes, rows, heard.failures, heard.notes)


def table_rows(table: Table) -> tuple[Heard, Block]:
    heard = Heard()
    return heard, concatenate(table.blocks(heard))


def _name(found: Listing | Table, label: int) -> str:
    return found.classes[label] if label >= 0 else ""


def refusal(call: Callable[[], Any], error: type[FerError] = DataError) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def test_every_layout_has_a_sample_a_title_and_known_options():
    assert names() == sorted([*SAMPLES, "synthetic"])
    fields = {found.name for found in Options.fields()}
    for name in names():
        assert get(name).TITLE
        assert "\n" not in get(name).TITLE
        assert set(get(name).OPTIONS) <= fields


@pytest.mark.parametrize("layout", SAMPLES)
def test_layout(layout: str, tmp_path: Path):
    sample = SAMPLES[layout]
    found = scanned(plant(tmp_path / "data", sample.files), layout)
    assert found.classes == sample.classes
    assert found.rows == sample.rows
    assert found.failures == sample.failures
    assert found.notes == sample.notes


def test_a_list_alone_names_photos_seen_from_its_folder(tmp_path: Path):
    folder = plant(tmp_path / "d", {"a.png": photo(1), "x/b.png": photo(2)})
    listed = (
        plant(tmp_path / "d/lists", {"train.tsv": "image\temotion\n../a.png\tsad\n../x/b.png\tfear\n"}) / "train.tsv"
    )
    found = scanned(listed, "list")
    assert found.rows == [row("../a.png", "sad", "train"), row("../x/b.png", "fear", "train")]
    source = open_source(str(listed))
    assert source.read("../x/b.png") == (folder / "x/b.png").read_bytes()
    told = refusal(lambda: source.read("../c.png"))
    assert told == f"there is no {tmp_path}/d/lists/../c.png: paths are seen from the folder of {listed}"
    digests = {open_source(str(listed)).digest(names) for names in ((), ("../a.png",), ("../a.png", "../x/b.png"))}
    (folder / "a.png").write_bytes(photo(3))
    assert len(digests | {open_source(str(listed)).digest(("../a.png",))}) == 4
    digests = {open_source(f"{tmp_path}/d/{way}lists/train.tsv").digest(("../a.png", "none")) for way in ("", "x/../")}
    assert len(digests) == 1  # wherever it is seen from


def test_lists_that_are_none(tmp_path: Path):
    source = open_source(str(plant(tmp_path, {"l.csv": "path,mood\na,b\n"}) / "l.csv"))
    assert refusal(lambda: get("list").scan(source, Options())) == (
        f"{tmp_path}/l.csv holds no csv or tsv with the columns of a list of photos: one called path or filepath or "
        f"file_path or file and one called label or emotion or expression or class"
    )
    plant(tmp_path, {"l.csv": f"path,emotion\n{'a' * 200_000},sad\n"})
    told = refusal(lambda: get("list").scan(source, Options()))
    assert told == "l.csv: it is no table of rows: field larger than field limit (131072)"
    plant(tmp_path, {"l.csv": 'path,emotion,note\na,sad,"nice\nb,sad,\n'})  # rows that an open quote would take in
    told = refusal(lambda: get("list").scan(source, Options()))
    assert told == "l.csv: it is no table of rows: unexpected end of data"
    plant(tmp_path, {"d/results.csv": 'file,label\na.jpg,sad\n"', "d/sad/b.jpg": photo()})
    folder = open_source(f"{tmp_path}/d")
    assert recognise(folder).NAME == "folder"  # which has no such photo
    plant(tmp_path, {"d/results.csv": "file,label\na.jpg,sad\n"})
    assert get("list").scan(folder, Options()).failures == [("results.csv:1", "there is no photo a.jpg")]


def test_lists_that_contradict_one_another(tmp_path: Path):
    files = {
        "all.csv": "path,label\nimages/gone.png,sad\nimages/a.png,happy\nimages/b.png,sad\n",
        "train.csv": "path,label\nimages//a.png,sad\nimages/c.png,fear\nimages/c.png,angry\n",
    }
    found = scanned(plant(tmp_path, {**files, **{f"images/{name}.png": photo() for name in "abc"}}), "list")
    assert found.rows == [row("images/a.png", "sad", "train"), row("images/c.png", "fear", "train")]
    assert found.failures == [
        ("all.csv:1", "there is no photo images/gone.png"),
        ("all.csv:2", "neither a column nor the name of the file tells its split"),
        ("all.csv:3", "neither a column nor the name of the file tells its split"),
        ("train.csv:3", "its photo is that of train.csv:2 already"),
    ]


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("layout", SAMPLES)
def test_layout_inside_an_archive(layout: str, kind: str, tmp_path: Path):
    folder = plant(tmp_path / "data", SAMPLES[layout].files)
    assert scanned(pack(folder, kind), layout) == scanned(folder, layout)


def test_synthetic_is_recognised_by_its_name_alone():
    source = open_source("synthetic:20")
    assert recognise(source).NAME == "synthetic"
    _, block = table_rows(get("synthetic").scan(source, Options()))
    assert block["image"].shape == (20, 48, 48)


def test_folder_flat_photos_are_unlabelled(tmp_path: Path):
    found = scanned(plant(tmp_path / "d", {"b.jpg": photo(), "a.JPEG": photo()}), "folder")
    assert (found.classes, found.rows) == ((), [row("a.JPEG"), row("b.jpg")])


def test_folder_photos_beside_class_folders_are_unlabelled(tmp_path: Path):
    found = scanned(
        plant(tmp_path / "d", {"Happiness/b.jpg": photo(), "a.jpg": photo(), "sad/x/c.png": photo()}), "folder"
    )
    assert found.classes == ("happy", "sad")
    assert found.rows == [row("Happiness/b.jpg", "happy"), row("a.jpg"), row("sad/x/c.png", "sad")]


def test_folder_of_one_class_keeps_it(tmp_path: Path):
    found = scanned(plant(tmp_path / "d", {"happy/me/1.jpg": photo(), "happy/you/1.jpg": photo()}), "folder")
    assert found.classes == ("happy",)


def test_folder_takes_the_organisers_names_of_the_splits(tmp_path: Path):
    files = {f"{split}/3/{at}.jpg": photo() for at, split in enumerate(("Training", "PublicTest", "PrivateTest"))}
    found = scanned(plant(tmp_path / "d", files), "folder")
    assert [(r[1], r[2]) for r in found.rows] == [("3", "test"), ("3", "val"), ("3", "train")]


def test_folder_split_without_classes(tmp_path: Path):
    found = scanned(plant(tmp_path / "d", {"train/a.jpg": photo(), "valid/b.jpg": photo()}), "folder")
    assert (found.classes, found.rows) == ((), [row("train/a.jpg", split="train"), row("valid/b.jpg", split="val")])


def test_folder_photo_outside_the_splits_fails(tmp_path: Path):
    files = {"train/sad/a.jpg": photo(), "test/sad/a.jpg": photo(), "b.jpg": photo(), "more/c.jpg": photo()}
    found = scanned(plant(tmp_path / "d", files), "folder")
    reason = "it lies outside the folders of the splits, test, train"
    assert found.failures == [("b.jpg", reason), ("more/c.jpg", reason)]


def test_folder_name_that_is_not_utf8_cannot_be_a_class(tmp_path: Path):
    folder = plant(tmp_path / "d", {"sad/a.jpg": photo()})
    import os

    os.mkdir(os.fsencode(folder) + b"/h\xe4ppy")
    with open(os.fsencode(folder) + b"/h\xe4ppy/a.jpg", "wb") as file:
        file.write(photo())
    told = refusal(lambda: scanned(folder, "folder"))
    assert told == "the folder 'h\\udce4ppy' cannot name a class: rename it to printable UTF-8"


def test_fer2013_with_the_columns_of_icml_face_data(tmp_path: Path):
    text = f"emotion, Usage, pixels\n3,Training,{pixels(2304)}\n2,PrivateTest,{pixels(2304, 5)}\n"
    found = scanned(plant(tmp_path / "d", {"icml_face_data.csv": text}) / "icml_face_data.csv", "fer2013")
    assert found.rows == [row("icml_face_data.csv:1", "happy", "train"), row("icml_face_data.csv:2", "fear", "test")]


def test_fer2013_takes_the_whole_table_of_the_contest_archive(tmp_path: Path):
    files = {
        "icml_face_data.csv": f"emotion, Usage, pixels\n3,Training,{pixels(2304)}\n",
        "train.csv": f"emotion,pixels\n3,{pixels(2304)}\n",
        "test.csv": f"pixels\n{pixels(2304)}\n",
        "example_submission.csv": "id,emotion\n1,0\n",
    }
    found = scanned(pack(plant(tmp_path / "d", files), "zip"), "fer2013")
    assert found.rows == [row("icml_face_data.csv:1", "happy", "train")]


def test_the_training_table_of_the_contest_tells_no_split(tmp_path: Path):
    files = {
        "train.csv": f"emotion,pixels\n3,{pixels(2304)}\n9,{pixels(2304)}\n",
        "test.csv": f"pixels\n{pixels(2304)}\n",
    }
    found = scanned(plant(tmp_path / "d", files), "fer2013")
    assert found.rows == [row("train.csv:1", "happy")]
    assert asked_for_votes(tmp_path / "d") == (
        "train.csv has no column Usage, by which --ferplus checks that its rows are those of the votes"
    )


def asked_for_votes(folder: Path) -> str:
    return refusal(lambda: get("fer2013").scan(open_source(str(folder)), Options(ferplus="new.csv")))


def test_a_table_of_votes_that_lacks_more_than_the_usage(tmp_path: Path):
    plant(tmp_path / "d", {"f.csv": f"pixels,Usage\n{pixels(2304)},Training\n"})
    assert asked_for_votes(tmp_path / "d") == "f.csv: it has no column emotion; its columns are pixels, usage"


def test_two_csvs_are_an_error_that_names_them(tmp_path: Path):
    text = f"emotion,pixels,Usage\n3,{pixels(2304)},Training\n"
    folder = plant(tmp_path / "d", {"a.csv": text, "b.csv": text})
    assert refusal(lambda: scanned(folder, "fer2013")) == (
        f"{folder} holds more than one csv with the columns emotion, pixels, Usage: a.csv, b.csv; name the one you mean"
    )


def ferplus(
    tmp_path: Path, votes: list[str], usages: str = "Training", labels: str = "0"
) -> Callable[[], tuple[Heard, Block]]:
    """Joins votes to a csv of as many rows, whose usages and labels repeat."""
    usages, labels = usages.split(), labels.split()
    rows = [f"{labels[at % len(labels)]},{pixels(4)},{usages[at % len(usages)]}\n" for at in range(len(votes))]
    folder = plant(tmp_path, {"fer2013.csv": "emotion,pixels,Usage\n" + "".join(rows)})
    plant(tmp_path, {"new.csv": FERPLUS_HEADER + "".join(line + "\n" for line in votes)})
    source = open_source(str(folder / "fer2013.csv"))
    return lambda: table_rows(get("fer2013").scan(source, Options(ferplus=str(folder / "new.csv"))))


def test_ferplus_votes_join_by_row(tmp_path: Path):
    votes = [
        "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",  # neutral
        "Training,,0,0,0,0,0,0,0,0,0,10",  # no face
        "Training,fer0000001.png,0,0,0,0,0,0,0,10,0,0",  # contempt
        "PublicTest,fer0000002.png,5,0,0,0,5,0,0,0,0,0",  # a tie that FER2013's angry breaks
        "PublicTest,fer0000003.png,5,5,0,0,0,0,0,0,0,0",  # a tie without it
        "PublicTest,fer0000004.png,2,0,0,0,0,0,0,0,8,0",  # unknown
        "PrivateTest,fer0000005.png,0,0,0,0,5,0,0,0,5,0",  # a tie with unknown
        "PrivateTest,fer0000006.png,0,0,0,0,0,0,0,0,0,0",  # no vote
    ]
    heard, block = ferplus(tmp_path, votes, " ".join(line.split(",")[0] for line in votes))()
    assert block["label"].tolist() == [6, -1, 7, 0, -1, -1, 0, -1]
    shares = block["votes"]
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares[0], [0.3, 0.2, 0, 0, 0.1, 0, 0.4, 0], atol=1e-7)
    np.testing.assert_array_equal(shares[[1, 7]], 0)
    np.testing.assert_allclose(shares[[0, 2, 3, 4, 5, 6]].sum(axis=1), 1, atol=1e-6)
    assert heard.notes == [
        "FER+: 2 tied rows keep FER2013's label; 4 are unlabelled (unknown, no face, or a tie without that label)"
    ]


@pytest.mark.parametrize(
    ("votes", "told"),
    [
        (["Training,,1,0,0,0,0,0,0,0,0,0"] * 2, "has 2 rows, but the csv has more; {order}"),
        (["Training,,1,0,0,0,0,0,0,0,0,0"] * 4, "has 4 rows, but the csv has 3; {order}"),
        (["Training,fer0000001.png,1,0,0,0,0,0,0,0,0,0", "Training,fer0000000.png,1,0,0,0,0,0,0,0,0,0"],
         ": the image name of row 2 does not count up; {order}"),
        (["Training,,1,0,0"], ": row 1 has 5 fields, but the header has 12"),
        (["Training,,1,0,0,0,0,0,0,0,0,x"], ": row 1 holds votes that are no whole numbers: 1,0,0,0,0,0,0,0,0,x"),
        (["Test,,1,0,0,0,0,0,0,0,0,0"], ": the usage of row 1 is 'Test', not one of Training, PublicTest, PrivateTest"),
    ],
)  # fmt: skip
def test_ferplus_refuses(votes: list[str], told: str, tmp_path: Path):
    join = ferplus(tmp_path, ["x"] * 3)
    plant(tmp_path, {"new.csv": FERPLUS_HEADER + "".join(line + "\n" for line in votes)})
    order = "--ferplus takes fer2013new.csv and the original csv, whole and in the original order"
    found = refusal(join).replace(f"{tmp_path}/new.csv", "")
    assert found.strip() == told.format(order=order).strip()


def test_ferplus_refuses_another_order(tmp_path: Path):
    join = ferplus(
        tmp_path, ["PublicTest,,1,0,0,0,0,0,0,0,0,0", "Training,,1,0,0,0,0,0,0,0,0,0"], "PublicTest PrivateTest"
    )
    assert refusal(join) == (
        f"row 2 has another usage in {tmp_path}/new.csv than in the csv; "
        "--ferplus takes fer2013new.csv and the original csv, whole and in the original order"
    )


def test_ferplus_refuses_another_file(tmp_path: Path):
    join = ferplus(tmp_path, [])
    plant(tmp_path, {"new.csv": "a,b\n"})
    assert refusal(join).startswith(
        f"{tmp_path}/new.csv is no FER+ votes file: its first line must be Usage,Image name,"
    )


def test_real_ferplus_votes_fit_the_order_of_the_csv(shared_data: Path, tmp_path: Path):
    usages = ["Training"] * 28709 + ["PublicTest"] * 3589 + ["PrivateTest"] * 3589
    lines = [f"{at % 7},{at % 256} 1 2 3,{usage}" for at, usage in enumerate(usages)]
    path = tmp_path / "fer2013.csv"
    path.write_text("emotion,pixels,Usage\n" + "\n".join(lines))
    scan = get("fer2013").scan
    votes = str(shared_data / "fer2013new.csv")
    _, block = table_rows(scan(open_source(str(path)), Options(ferplus=votes)))
    assert len(block["label"]) == 35887
    assert block["label"][:2].tolist() == [6, 6]  # four of ten and six of ten saw neutral
    np.testing.assert_allclose(block["votes"][0], [0.3, 0.2, 0, 0, 0.1, 0, 0.4, 0], atol=1e-7)
    nobody = block["votes"].sum(axis=1) == 0
    assert nobody.sum() == 176  # ten saw no face or did not know
    assert (block["label"][nobody] == -1).all()
    lines[100], lines[30000] = lines[30000], lines[100]
    path.write_text("emotion,pixels,Usage\n" + "\n".join(lines))
    told = refusal(lambda: table_rows(scan(open_source(str(path)), Options(ferplus=votes))))
    assert told.startswith(f"row 101 has another usage in {votes} than in the csv")


def test_ckplus_frames_and_neutral_first(tmp_path: Path):
    folder = plant(tmp_path / "d", SAMPLES["ckplus"].files)
    found = scanned(folder, "ckplus", frames=1, neutral_first=True)
    assert found.classes == EMOTIONS_CONTEMPT
    assert [(r[0][-12:], r[1]) for r in found.rows] == [
        ("00000001.png", "neutral"),
        ("00000005.png", "disgust"),
        ("00000001.png", "neutral"),
        ("00000002.png", "surprise"),
    ]
    found = scanned(folder, "ckplus", frames=5, neutral_first=True)
    assert found.rows
    assert "neutral" not in [r[1] for r in found.rows]  # every first frame is among the last five


def test_ckplus_wrong_labels_fail(tmp_path: Path):
    files = dict(SAMPLES["ckplus"].files)
    files["Emotion/S005/001/S005_001_00000005_emotion.txt"] = "9"
    files["Emotion/S010/002/S010_002_00000002_emotion.txt"] = "joy"
    files["Emotion/S099/001/S099_001_00000009_emotion.txt"] = "1.0"
    assert scanned(plant(tmp_path / "d", files), "ckplus").failures == [
        ("Emotion/S005/001/S005_001_00000005_emotion.txt", "it holds '9', not one of the codes 1 to 7"),
        ("Emotion/S010/002/S010_002_00000002_emotion.txt", "it holds 'joy', not one of the codes 1 to 7"),
        ("Emotion/S099/001/S099_001_00000009_emotion.txt", "there is no frame of the sequence S099_001"),
    ]


def test_ckplus_without_labels(tmp_path: Path):
    files = {name: data for name, data in SAMPLES["ckplus"].files.items() if name.endswith(".png")}
    folder = plant(tmp_path / "d", files)
    told = refusal(lambda: scanned(folder, "ckplus"))
    assert told == f"{folder} holds no *_emotion.txt: put CK+'s Emotion folder beside its images"


def test_rafdb_mirror_with_numbered_folders(tmp_path: Path):
    files = {
        "DATASET/train/5/train_00001_aligned.jpg": photo(1, (100, 100, 3)),
        "DATASET/test/1/test_0001_aligned.jpg": photo(2, (100, 100, 3)),
        "train_labels.csv": "image,label\ntrain_00001_aligned.jpg,5\n",
    }
    found = scanned(plant(tmp_path / "d", files), "rafdb")
    assert found.rows == [
        row("DATASET/test/1/test_0001_aligned.jpg", "surprise", "test"),
        row("DATASET/train/5/train_00001_aligned.jpg", "sad", "train"),
    ]


ANNOTATION = "54.8 50.9\n62.4 51.1\n57.5 70.2\n54.3 78.3\n65.2 78.2\n{gender}\n0\n2\n"


def annotated_rafdb(root: Path) -> Path:
    """RAF-DB's tree of three photos with annotations, of which one is unsure and one damaged."""
    files = dict(SAMPLES["rafdb"].files)
    for name, gender in (("train_00001", 1), ("train_00002", 2), ("test_0001", "x")):
        files[f"basic/Annotation/manual/{name}_manu_attri.txt"] = ANNOTATION.format(gender=gender)
    files["compound/Annotation/manual/train_00001_manu_attri.txt"] = ANNOTATION.format(gender=0)
    return plant(root, files)


def test_rafdb_gender_on_request_only(tmp_path: Path):
    source = open_source(str(annotated_rafdb(tmp_path / "d")))
    listing = get("rafdb").scan(source, Options(attribute=("gender",)))
    assert listing.columns == ("label", "split", "attribute/gender")
    assert [dict(record.attributes) for record in listing.records] == [{"gender": 1}, {"gender": -1}, {"gender": -1}]
    assert listing.notes == [
        "annotations without a gender of 0 to 2, taken as unknown: 1 "
        "(basic/Annotation/manual/test_0001_manu_attri.txt:6 first)"
    ]
    assert get("rafdb").scan(source, Options()).columns == ("label", "split")


def test_rafdb_gender_that_cannot_be_had(tmp_path: Path):
    source = open_source(str(plant(tmp_path / "d", SAMPLES["rafdb"].files)))
    told = refusal(lambda: get("rafdb").scan(source, Options(attribute=("age",))), UsageError)
    assert told == "RAF-DB has no attribute 'age'; known: gender"
    told = refusal(lambda: get("rafdb").scan(source, Options(attribute=("gender",))))
    assert told == (
        f"{tmp_path / 'd'} holds no Annotation/manual/*_manu_attri.txt, which tell gender: "
        f"put that folder beside Image, or leave --attribute out"
    )


def test_utkface_attributes_on_request_only(tmp_path: Path):
    folder = plant(tmp_path / "d", SAMPLES["utkface"].files)
    source = open_source(str(folder))
    listing = get("utkface").scan(source, Options(attribute=("gender", "race")))
    assert listing.columns == ("attribute/gender", "attribute/race")
    assert [dict(record.attributes) for record in listing.records] == [
        {"gender": 1, "race": 0},
        {"gender": -1, "race": -1},  # a published name that lacks a field
        {"gender": 0, "race": 4},
    ]
    assert get("utkface").scan(source, Options()).columns == ()
    told = refusal(lambda: get("utkface").scan(source, Options(attribute=("sex",))), UsageError)
    assert told == "UTKFace has no attribute 'sex'; known: age, gender, race"


def test_affectnet_without_a_column(tmp_path: Path):
    files = {"training.csv": "subDirectory_filePath,face_x,face_y,face_width,face_height\n", "1/a.jpg": photo()}
    told = refusal(lambda: scanned(plant(tmp_path / "d", files), "affectnet"))
    assert told == (
        "training.csv has no column expression; "
        "its columns are subDirectory_filePath, face_x, face_y, face_width, face_height"
    )


def test_two_layouts_at_once_ask_which(tmp_path: Path):
    folder = plant(tmp_path / "d", {**SAMPLES["jaffe"].files, **SAMPLES["fer2013"].files})
    told = refusal(lambda: recognise(open_source(str(folder))), UsageError)
    assert told == f"{folder} looks like fer2013 and like jaffe: say which with --layout fer2013"


def test_unknown_layout():
    told = refusal(lambda: get("jafe"), UsageError)
    assert told == "there is no layout 'jafe'; did you mean 'jaffe'?"


@pytest.mark.parametrize("layout", ["rafdb", "expw", "affectnet", "fer2013", "ckplus"])
def test_explicit_layout_without_its_files_says_what_is_missing(layout: str, tmp_path: Path):
    folder = plant(tmp_path / "d", {"a.jpg": photo()})
    told = refusal(lambda: get(layout).scan(open_source(str(folder)), Options()))
    missing = {
        "rafdb": "basic/EmoLabel/list_patition_label.txt",
        "expw": "label.lst",
        "affectnet": "training.csv or validation.csv with the column subDirectory_filePath",
        "fer2013": "csv with the columns emotion, pixels, Usage",
        "ckplus": "*_emotion.txt: put CK+'s Emotion folder beside its images",
    }
    assert told == f"{folder} holds no {missing[layout]}"
