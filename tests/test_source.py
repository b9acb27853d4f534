"""Folders, files, lists and archives as one view; and what of them is refused."""

import errno
import os
import stat
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fercli.errors import DataError, FerError, UsageError
from fercli.layouts import archive, files, open_source
from fercli.layouts.files import Files, Source
from fercli.stages import ingest
from fercli.stages.runner import Log, Nowhere
from tests.trees import ARCHIVES, pack, plant, tar_of

TREE = {"a/1.jpg": b"one", "a/2.jpg": b"two", "b/c/3.jpg": b"three"}


def told(call: Callable[[], Any], error: type[FerError] = DataError) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def contents(source: Source) -> dict[str, bytes]:
    return {name: source.read(name) for name in source.names()}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_holds_what_the_folder_held(kind: str, tmp_path: Path):
    folder = plant(tmp_path / "d", TREE)
    source = open_source(str(pack(folder, kind)))
    assert contents(source) == contents(open_source(str(folder))) == TREE
    with source.stream("b/c/3.jpg") as stream:
        assert stream.read(2) + stream.read(9) + stream.read(9) == b"three"


def test_digest_of_a_folder_depends_on_names_and_bytes_alone(tmp_path: Path):
    first, second = (open_source(str(plant(tmp_path / name, TREE))) for name in ("d", "e"))
    contents(second)  # one has been read before, the other is read for its digest
    assert first.digest(first.names()) == second.digest(second.names())
    assert first.digest() != open_source(str(tmp_path / "d")).digest()
    plant(tmp_path / "d", {"a/1.jpg": b"0ne"})
    changed = open_source(str(tmp_path / "d"))
    assert changed.digest(changed.names()) != first.digest()


def test_digest_of_a_list_depends_on_its_order(tmp_path: Path):
    plant(tmp_path, TREE)
    paths = [f"{tmp_path}/{name}" for name in TREE]
    one, same, other = (Files("list", some) for some in (paths, paths, paths[::-1]))
    contents(same)
    assert one.digest(one.names()) == same.digest(same.names()) != other.digest(other.names())


def test_digest_reads_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = open_source(str(plant(tmp_path / "d", TREE)))
    table = open_source(str(plant(tmp_path, {"t.csv": "a,b\n"}) / "t.csv"))
    contents(folder)
    with table.stream("t.csv") as stream:
        assert list(stream.lines()) == [[b"a,b"], []]
    monkeypatch.setattr(files, "open_regular", None)
    assert len(folder.digest(folder.names())) == len(table.digest()) == 32


def test_digest_of_a_file_is_that_of_its_bytes_however_read(tmp_path: Path):
    path = str(plant(tmp_path, {"t.csv": b"x" * 3_000_000}) / "t.csv")
    read, unread = open_source(path), open_source(path)
    with read.stream("t.csv") as stream:
        while stream.read(1234567):
            pass
    assert read.digest() == unread.digest()


def test_digest_of_an_unreadable_photo_is_told_apart(tmp_path: Path):
    gone, there = Files("list", ["gone.jpg"]), Files("list", [str(plant(tmp_path, {"a.jpg": b""}) / "a.jpg")])
    assert gone.digest(gone.names()) != there.digest(there.names())


def test_lines_are_whole_however_the_file_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_LINES", 5)
    source = open_source(str(plant(tmp_path, {"t.csv": b"one\r\n\ntwo,three\n \nfour"}) / "t.csv"))
    with source.stream("t.csv") as stream:
        assert [line for lines in stream.lines() for line in lines] == [b"one", b"two,three", b"four"]


def test_a_line_without_end_is_refused(tmp_path: Path):
    source = open_source(str(plant(tmp_path, {"t.csv": b"a\nb\n" + b"x" * (5 << 20)}) / "t.csv"))
    with source.stream("t.csv") as stream:
        assert told(lambda: list(stream.lines())) == "line 3 is longer than 1 MiB: this is no table of rows"


def test_litter_is_left_out(tmp_path: Path):
    files_ = {
        "a.jpg": b"",
        "Thumbs.db": b"",
        ".a.jpg": b"",
        ".git/b.jpg": b"",
        "__MACOSX/._a.jpg": b"",
        "x/desktop.ini": b"",
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg": b"",
        "#recycle/b.jpg": b"",
    }
    folder = plant(tmp_path / "d", files_)
    assert open_source(str(folder)).names() == ["a.jpg"]
    assert open_source(str(pack(folder, "zip"))).names() == ["a.jpg"]


def test_loops_of_links_end_and_real_folders_give_the_names(tmp_path: Path):
    folder = plant(tmp_path / "d", {"sad/a.jpg": b"a"})
    (folder / "sad" / "up").symlink_to(folder)
    (folder / "again").symlink_to(folder / "sad")
    (folder / "self").symlink_to(folder / "self")
    elsewhere = plant(tmp_path / "e", {"b.jpg": b"b"})
    (folder / "happy").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    assert open_source(str(folder)).names() == ["happy/b.jpg", "sad/a.jpg", "self"]


def test_unreadable_photos_say_why(tmp_path: Path):
    folder = plant(tmp_path / "d", {"a.jpg": b"a"})
    (folder / "gone.jpg").symlink_to("nowhere")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    source = open_source(str(folder))
    assert source.names() == ["a.jpg", "gone.jpg", "loop.jpg", "pipe.jpg"]
    assert told(lambda: source.read("gone.jpg")) == "it cannot be read: No such file or directory"
    assert told(lambda: source.read("loop.jpg")) == "it cannot be read: Too many levels of symbolic links"
    assert told(lambda: source.read("pipe.jpg")) == "it is not a regular file"
    assert told(lambda: source.read("a\0.jpg")) == "it cannot be read: its name holds a zero byte"


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = open_source(str(plant(tmp_path / "d", {"x/a.jpg": b"a"})))

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)  # as root, the tests may read everything
    assert told(source.names) == f"the folder {tmp_path}/d/ cannot be listed: Permission denied"


def test_a_folder_inside_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, scan = plant(tmp_path / "d", {"a.jpg": b"a", "x/a.jpg": b"a", "y/a.jpg": b"a"}), os.scandir

    def refuse(path: str) -> object:
        if str(path).rstrip("/").endswith("/d/x"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    source = open_source(str(folder))
    assert (source.names(), source.unlisted) == (["a.jpg", "y/a.jpg"], {"x/": "Permission denied"})
    refused = told(lambda: ingest.run(ingest.resolve([str(folder)]), Nowhere(), ingest.IngestSpec(), Log()))
    assert refused == f"the folder {folder}/x/ cannot be listed: Permission denied"


def test_names_with_newlines_and_bytes_that_are_not_utf8(tmp_path: Path):
    raw = [b"a\nb.jpg", b"h\xe4ppy.jpg"]
    (tmp_path / "d").mkdir()
    for name in raw:
        (tmp_path / "d" / os.fsdecode(name)).write_bytes(name)
    folder = open_source(str(tmp_path / "d"))
    assert [os.fsencode(name) for name in folder.names()] == raw
    assert [folder.read(name) for name in folder.names()] == raw
    with tarfile.open(tmp_path / "d.tar", "w", format=tarfile.GNU_FORMAT) as made:
        for name in folder.names():
            made.add(tmp_path / "d" / name, name)
    assert contents(open_source(str(tmp_path / "d.tar"))) == contents(folder)


def test_a_file_larger_than_any_photo_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.jpg"
    with open(path, "wb") as file:
        file.truncate((1 << 30) + 1)  # sparse: takes no room
    assert told(lambda: Files("list", [str(path)]).read(str(path))) == "the file is larger than 1 GiB"
    member = tarfile.TarInfo("a.jpg")
    packed = open_source(str(tar_of(tmp_path / "a.tar", member, content=b"1234")))
    monkeypatch.setattr(archive, "MAX_FILE", 3)
    assert told(lambda: packed.read("a.jpg")) == "the file is larger than 0 GiB"


def test_missing_and_empty_paths(tmp_path: Path):
    assert told(lambda: open_source(f"{tmp_path}/x")) == f"{tmp_path}/x: it cannot be read: No such file or directory"
    assert told(lambda: open_source("-"), UsageError).startswith("'-' is no data set: ")
    for name in ("e.csv", "e.zip", "e.tar.xz"):
        plant(tmp_path, {name: b""})
        assert told(lambda name=name: open_source(f"{tmp_path}/{name}")) == f"{tmp_path}/{name} is empty (zero bytes)"
    plant(tmp_path, {"text.tar": b"no archive"})
    assert (
        told(lambda: open_source(f"{tmp_path}/text.tar"))
        == f"{tmp_path}/text.tar is not the archive that its name says"
    )


OUTSIDE = {
    "up": (tarfile.TarInfo("x/../../a.jpg"), "'x/../../a.jpg' points outside the archive"),
    "absolute": (tarfile.TarInfo("/etc/a.jpg"), "'/etc/a.jpg' points outside the archive"),
    "link": (link("x/a.jpg", "../../b.jpg"), "'x/a.jpg' is a link to '../b.jpg', outside the archive"),
    "absolute link": (link("a.jpg", "/etc/passwd"), "'a.jpg' is a link to '/etc/passwd', outside the archive"),
    "hard link": (link("a.jpg", "../b.jpg", tarfile.LNKTYPE), "'a.jpg' is a link to '../b.jpg', outside the archive"),
    "device": (link("a.jpg", "", tarfile.CHRTYPE), "'a.jpg' is a device or a pipe"),
    "pipe": (link("a.jpg", "", tarfile.FIFOTYPE), "'a.jpg' is a device or a pipe"),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_tar_members_that_point_outside(case: str, tmp_path: Path):
    member, reason = OUTSIDE[case]
    path = tar_of(tmp_path / "a.tar", tarfile.TarInfo("fine.jpg"), member, content=b"a")
    assert told(lambda: open_source(str(path))) == (
        f"{path} is refused: its member {reason}; unpack it yourself and ingest the folder"
    )


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("../a.jpg", stat.S_IFREG, "'../a.jpg' points outside the archive"),
        ("..\\a.jpg", stat.S_IFREG, "'../a.jpg' points outside the archive"),
        ("/a.jpg", stat.S_IFREG, "'/a.jpg' points outside the archive"),
        ("a/b.jpg", stat.S_IFLNK, "'a/b.jpg' is a link to '../c.jpg', outside the archive"),
    ],
)
def test_zip_members_that_point_outside(name: str, mode: int, reason: str, tmp_path: Path):
    path, info = tmp_path / "a.zip", zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(info, "../../c.jpg")
    assert told(lambda: open_source(str(path))) == (
        f"{path} is refused: its member {reason}; unpack it yourself and ingest the folder"
    )


@pytest.mark.parametrize(
    ("written", "flag", "name"),
    [
        ("ärger 😀.jpg".encode(), 0, "ärger 😀.jpg"),  # as Info-ZIP does
        ("ärger.jpg".encode(), 0x800, "ärger.jpg"),
        ("ärger.jpg".encode("cp437"), 0, "ärger.jpg"),
    ],
)
def test_names_in_a_zip(written: bytes, flag: int, name: str, tmp_path: Path):
    class Info(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):  # noqa: N802 - of zipfile
            return written, flag

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(Info("a.jpg"), b"photo")
    source = open_source(f"{tmp_path}/a.zip")
    assert source.names() == [name]
    assert source.read(name) == b"photo"


def test_members_that_are_there_twice(tmp_path: Path):
    path = tar_of(tmp_path / "a.tar", tarfile.TarInfo("a.jpg"), tarfile.TarInfo("./a.jpg"), content=b"a")
    assert told(lambda: open_source(str(path))) == (
        f"{path} is refused: its member './a.jpg' is there twice; unpack it yourself and ingest the folder"
    )


def test_links_inside_an_archive_are_followed(tmp_path: Path):
    members = [
        tarfile.TarInfo("x/a.jpg"),
        link("y/b.jpg", "../x/a.jpg"),
        link("c.jpg", "y/b.jpg"),
        link("d.jpg", "x/a.jpg", tarfile.LNKTYPE),
        link("gone.jpg", "nowhere.jpg"),
        link("l1.jpg", "l2.jpg"),
        link("l2.jpg", "l1.jpg"),
    ]
    source = open_source(str(tar_of(tmp_path / "a.tar", *members, content=b"a")))
    assert [source.read(name) for name in ("x/a.jpg", "y/b.jpg", "c.jpg", "d.jpg")] == [b"a"] * 4
    assert told(lambda: source.read("gone.jpg")) == "it is a link to 'nowhere.jpg', which the archive does not hold"
    assert told(lambda: source.read("l1.jpg")) == "it is a link in a loop of links"


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_are_cut_off(kind: str, tmp_path: Path):
    path = pack(plant(tmp_path / "d", {f"{at}.jpg": os.urandom(2000) for at in range(20)}), kind)
    path.write_bytes(path.read_bytes()[:-12000])
    assert told(lambda: open_source(str(path))).startswith(f"{path}: it is damaged or cut off: ")


@pytest.mark.parametrize("cut", ["within a header", "between members", "a damaged header"])
def test_a_tar_of_which_python_reads_a_part_alone(cut: str, tmp_path: Path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as made:
        made.add(plant(tmp_path / "d", {f"{at}.jpg": bytes(400) for at in range(5)}), "d")
    data = bytearray(path.read_bytes())
    third = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"][3]
    if cut == "a damaged header":
        data[third + 3] ^= 1
    else:
        del data[third + (200 if cut == "within a header" else 0) :]
    path.write_bytes(data)
    assert told(lambda: open_source(str(path))) == (
        f"{path}: it is damaged or cut off: what follows the last member that can be read is no end of a tar"
    )


def test_a_zip_member_that_is_damaged_or_locked(tmp_path: Path):
    path = pack(plant(tmp_path / "d", {"a.jpg": bytes(range(256)), "b.jpg": b"b"}), "zip")
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF  # within the bytes of a.jpg
    data[data.rindex(b"PK\1\2") + 8] |= 1  # b.jpg claims to be encrypted
    data[data.rindex(b"PK\3\4") + 6] |= 1
    path.write_bytes(data)
    source = open_source(str(path))
    assert told(lambda: source.read("a.jpg")).startswith("it is damaged or cut off: ")
    assert told(lambda: source.read("b.jpg")) == (
        "it is encrypted: unpack the archive with its password and ingest the folder"
    )


def test_a_zip_whose_names_or_links_cannot_be_read(tmp_path: Path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("\u00e9.jpg", b"photo")
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    assert told(lambda: open_source(str(path))).startswith(f"{path}: it is damaged or cut off: 'utf-8' codec can't")
    with zipfile.ZipFile(path, "w") as made:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(link, "a.jpg")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert told(lambda: open_source(str(path))) == (
        f"{path}: link.jpg: it is encrypted: unpack the archive with its password and ingest the folder"
    )


@pytest.mark.parametrize("kind", ["tar.xz", "tar.gz", "tar.bz2"])
def test_a_bomb_is_refused_while_it_grows(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = pack(plant(tmp_path / "d", {"a.jpg": bytes(30 << 20)}), kind)
    assert open_source(str(path)).names() == ["a.jpg"]  # 30 MiB are no bomb, however small they were
    monkeypatch.setattr(archive, "MAX_TAR", 1 << 20)
    monkeypatch.setattr(archive, "MAX_GROWTH", 2)
    assert told(lambda: open_source(str(path))) == f"{path} is refused: it grows beyond 0 GiB when it is decompressed"


def test_large_decompressed_archives_leave_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "_MEMORY", 1000)
    source = open_source(str(pack(plant(tmp_path / "d", TREE), "tar.xz")))
    assert contents(source) == TREE


def test_no_space_to_decompress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Full(tempfile.SpooledTemporaryFile):
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    path = pack(plant(tmp_path / "d", TREE), "tar.xz")
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    assert told(lambda: open_source(str(path))) == (
        f"{path}: no space left in {tempfile.gettempdir()} to decompress it: set TMPDIR to a larger place"
    )


@pytest.mark.parametrize("kind", ARCHIVES)
def test_threads_read_members_side_by_side(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    members = {f"{number}.jpg": bytes([number]) * 300_000 for number in range(20)}
    source = open_source(str(pack(plant(tmp_path / "photos", members), kind)))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(source.read, [*members] * 10))
    finally:
        sys.setswitchinterval(before)
    assert all(data == members[name] for name, data in zip([*members] * 10, found, strict=True))
