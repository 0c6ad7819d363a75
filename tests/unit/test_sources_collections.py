"""Collections come along proven, where Ansible looks for them, and the same lock gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.lock import FolderArchive, Lock, LockedBlob
from bundles.sources.collections import read
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from bundles.sources.resolve import lock
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.progress import Silent

HEAD = "apiVersion: dryport/v1\nkind: Bundle\nproduct: test\nversion: 1.0.0\nplatforms: [linux/amd64]\n"
ENTRY = "playbooks: {folder: {path: plays}, collections: [{path: acme.tar.gz}]}\n"
MODULE = "plugins/modules/hello.py"
TOP = "playbooks/collections/ansible_collections/acme/tools"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tarball(namespace: str = "acme", changed: dict[str, bytes] | None = None) -> bytes:
    """Return a collection as it is built; `changed` are files put in afterwards."""
    module = b"print('hello')\n"
    rows = [{"name": ".", "ftype": "dir"}, {"name": MODULE, "ftype": "file", "chksum_sha256": sha256(module)}]
    files = json.dumps({"files": rows, "format": 1}).encode()
    manifest = {
        "collection_info": {"namespace": namespace, "name": "tools", "version": "1.2.0"},
        "file_manifest_file": {"name": "FILES.json", "ftype": "file", "chksum_sha256": sha256(files)},
    }
    held = {"MANIFEST.json": json.dumps(manifest).encode(), "FILES.json": files, MODULE: module} | (changed or {})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in held.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def locked(folder: Path) -> tuple[Lock, LockedBlob]:
    (folder / "plays").mkdir(exist_ok=True)
    (folder / "plays/step.yml").write_text("- hosts: all\n")
    (folder / "bundle.yaml").write_text(HEAD + ENTRY)
    made = lock(folder / "bundle.yaml", Inputs(folder, {}, folder), Silent())
    return made, next(blob for blob in made.blobs() if isinstance(blob.origin, FolderArchive))


def fetched(folder: Path, blob: LockedBlob) -> bytes:
    with Fetcher(Inputs(folder, {}, folder))(blob) as blocks:
        return b"".join(blocks)


def test_a_collection_lies_where_ansible_looks_and_comes_as_it_was_locked(tmp_path: Path) -> None:
    (tmp_path / "acme.tar.gz").write_bytes(tarball())
    made, blob = locked(tmp_path)
    assert made == locked(tmp_path)[0]
    data = fetched(tmp_path, blob)
    assert Digest.of(data) == blob.digest
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
    assert {f"{TOP}/{MODULE}", f"{TOP}/MANIFEST.json", "playbooks/step.yml"} <= set(names)


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"no archive", ""),
        (tarball(changed={MODULE: b"other\n"}), sha256(b"other\n")),
        (tarball(changed={"FILES.json": b"{}"}), sha256(b"{}")),
        (tarball(changed={"more.py": b""}), "more.py"),
        (tarball(changed={"../up.py": b""}), "../up.py"),
        (tarball(changed={"MANIFEST.json": b"["}), ""),
        (tarball(namespace="../up"), "../up"),
    ],
)
def test_what_is_no_collection_as_built_is_refused(tmp_path: Path, data: bytes, seen: str) -> None:
    (tmp_path / "acme.tar.gz").write_bytes(data)
    with pytest.raises(DefinitionError) as caught:
        locked(tmp_path)
    assert caught.value.reference == "collection-refused"
    assert seen in (caught.value.seen or "")


@given(place=st.integers(0, len(tarball()) - 1), bit=st.integers(0, 7))
def test_damage_is_refused_or_changes_nothing(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    data = bytearray(tarball())
    data[place] ^= 1 << bit
    path = tmp_path_factory.mktemp("damaged") / "acme.tar.gz"
    path.write_bytes(tarball())
    whole = {held.name: held.data for held in read(path, "acme")}
    path.write_bytes(data)
    try:
        found = {held.name: held.data for held in read(path, "acme")}
    except DefinitionError:
        return
    assert found == whole
