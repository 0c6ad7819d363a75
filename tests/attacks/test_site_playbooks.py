"""A pack of playbooks that wants to be more than files in its folder. The pack is signed, and still not trusted."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from installer.hosts.content import DEPTH, Limits, listed, unpack
from registry.errors import MediaError


def packed(*members: tuple[str, bytes] | tarfile.TarInfo) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    stream.seek(0)
    return stream


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(stream: io.BytesIO, folder: Path, limits: Limits | None = None) -> None:
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(MediaError) as caught:
        unpack(stream, folder, limits)
    assert caught.value.reference == "playbooks-refused"
    assert [path for path in sorted(folder.parent.rglob("*")) if path not in before and folder not in path.parents] in (
        [],
        [folder],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in" / "project"


def test_regular_files_become_private_files_and_nothing_else(folder: Path) -> None:
    directory = special("playbooks", tarfile.DIRTYPE)
    good = ("playbooks/roles/kit/tasks/main.yml", b"- x\n")
    names = unpack(packed(directory, ("playbooks/step.yml", b"---\n"), good), folder)
    assert names == ("playbooks/step.yml", "playbooks/roles/kit/tasks/main.yml")
    assert (folder / names[1]).read_bytes() == b"- x\n"
    assert (folder / names[1]).stat().st_mode & 0o777 == 0o600
    assert listed(packed(good)) == (good[0],)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "a//b",
        "a/./b",
        ".ssh/authorized_keys",
        "a/.hidden",
        "-rf",
        "a\\b",
        "a\nb",
        "ä",
        "a" * 101,
        "/".join(["d"] * (DEPTH + 1)),
        "",
    ],
)
def test_a_name_that_is_not_plainly_below_the_folder_is_refused(folder: Path, name: str) -> None:
    info = tarfile.TarInfo("placeholder")
    info.name = name
    refused(packed(info), folder)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_regular_file_is_refused(folder: Path, kind: bytes) -> None:
    refused(packed(special("playbooks/x", kind, "/etc/passwd")), folder)


def test_a_link_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    refused(packed(special("a", tarfile.SYMTYPE, str(tmp_path)), ("a/evil", b"x")), folder)
    assert not (tmp_path / "evil").exists()


def test_a_name_that_comes_twice_or_lies_below_a_file_is_refused(folder: Path) -> None:
    refused(packed(("a", b"1"), ("a", b"2")), folder)
    refused(packed(("b", b"1"), ("b/c", b"2")), folder)


def test_limits_hold_at_their_edge(folder: Path, tmp_path: Path) -> None:
    two = (("a", b"12"), ("b", b"34"))
    assert len(unpack(packed(*two), folder, Limits(files=2, bytes=4))) == 2
    refused(packed(*two), tmp_path / "one" / "x", Limits(files=1, bytes=4))
    refused(packed(*two), tmp_path / "two" / "x", Limits(files=2, bytes=3))


@pytest.mark.parametrize("data", [b"", b"no gzip", gzip.compress(b"no tar" * 100, mtime=0)])
def test_what_is_no_archive_is_refused(folder: Path, data: bytes) -> None:
    refused(io.BytesIO(data), folder)


def test_a_truncated_archive_is_refused(folder: Path) -> None:
    whole = packed(("a", bytes(range(256)) * 100)).getvalue()
    refused(io.BytesIO(whole[: len(whole) // 2]), folder)
