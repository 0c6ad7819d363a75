from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import socket
import tarfile
from pathlib import Path

import pytest

from registry.errors import DefinitionError
from registry.oci.targz import folder_archive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pack"
    (root / "charts").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "__pycache__").mkdir()
    (root / "pack.json").write_bytes(b"{}")
    (root / "charts" / "big.tgz").write_bytes(os.urandom(200_000))
    (root / "charts.txt").write_bytes(b"sorts between folder and file")
    (root / "run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "run.sh").chmod(0o750)
    (root / ".hidden").write_bytes(b"secret")
    (root / "__pycache__" / "x.pyc").write_bytes(b"x")
    return root


def archive(folder: Path, prefix: str = "web-1.0.0") -> bytes:
    return b"".join(folder_archive(folder, prefix))


def test_the_archive_holds_every_file_below_the_prefix_and_nothing_hidden(folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(folder)), mode="r:gz") as tar:
        found = {info.name: info for info in tar}
        assert list(found) == [
            "web-1.0.0",
            "web-1.0.0/charts.txt",
            "web-1.0.0/charts",
            "web-1.0.0/charts/big.tgz",
            "web-1.0.0/pack.json",
            "web-1.0.0/run.sh",
        ]
        big = tar.extractfile("web-1.0.0/charts/big.tgz")
        assert big is not None
        assert big.read() == (folder / "charts" / "big.tgz").read_bytes()
    assert {info.mtime for info in found.values()} == {0}
    assert {(info.uid, info.gid, info.uname, info.gname) for info in found.values()} == {(0, 0, "", "")}
    assert [oct(info.mode) for info in found.values()] == ["0o755", "0o644", "0o755", "0o644", "0o644", "0o755"]


def test_copies_made_later_with_another_umask_and_owner_bits_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, other, copy_function=shutil.copyfile)
    for path in other.rglob("*"):
        path.chmod(0o777 if path.is_dir() or path.name == "run.sh" else 0o600)
        os.utime(path, (1, 1))
    assert archive(other) == archive(folder)


def test_the_bytes_are_fixed_for_ever(tmp_path: Path) -> None:
    # A lock made by any release must hold in the next: this digest may only change with the lock's apiVersion.
    root = tmp_path / "fixed"
    root.mkdir()
    (root / "values.yaml").write_bytes(b"a: 1\n" * 40_000)
    (root / "ünï.txt").write_bytes(b"")
    (root / ("n" * 120)).write_bytes(b"long")
    assert (
        hashlib.sha256(archive(root, "p-1")).hexdigest()
        == "e1d1c1fad40514dd4fc1457300f04bb8493b70a7b760678ad633a0cedfaf0916"
    )


def test_a_foreign_gzip_reader_accepts_the_stream(folder: Path) -> None:
    assert gzip.decompress(archive(folder))[:9] == b"web-1.0.0"


def test_links_and_special_files_are_all_named(folder: Path) -> None:
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "charts" / "up").symlink_to("..")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "sock")[:100])
        with pytest.raises(DefinitionError) as caught:
            archive(folder)
    assert caught.value.reference == "folder-not-portable"
    named = {finding.where for finding in caught.value.findings}
    assert {"passwd", "charts/up", "pipe"} <= named


def test_a_name_that_is_not_utf8_is_refused(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_bytes(b"")
    with pytest.raises(DefinitionError) as caught:
        archive(folder)
    assert caught.value.findings[0].reference == "name-not-portable"


def test_a_file_that_grows_while_it_is_read_is_an_error(folder: Path) -> None:
    blocks = folder_archive(folder, "p")
    for path in folder.rglob("*.tgz"):
        next(blocks)  # the gzip header; no file is open yet
        path.write_bytes(os.urandom(3_000_000))
        next(blocks)
        with path.open("ab") as stream:
            stream.write(b"more")
    with pytest.raises(DefinitionError) as caught:
        b"".join(blocks)
    assert caught.value.reference == "file-changed"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        archive(tmp_path / "nowhere")
    assert caught.value.reference == "folder-unreadable"
    assert "nowhere" in caught.value.where
