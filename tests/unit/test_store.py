"""The store beyond its contract: what is refused, what is mended, several users of one folder."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from registry.errors import SiteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_MANIFEST
from registry.progress import Silent
from registry.store import durable
from registry.store.faults import BlobMissingError, DigestMismatchError, ManifestInvalidError
from registry.store.rebuild import rebuild
from registry.store.store import Store
from tests.oci_samples import descriptor, image

HELLO = b"hello"


def files(folder: Path) -> set[str]:
    """Every file that is not the database."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "index." not in path.name}


def push(store: Store, repository: str, content: bytes, *tags: str) -> Digest:
    sample = image(content)
    for digest, data in sample.blobs.items():
        store.put_blob(repository, digest, [data])
    return store.put_manifest(repository, sample.manifest, OCI_MANIFEST, tags)


def read(store: Store, repository: str, digest: Digest) -> bytes | None:
    content = store.blob(repository, digest)
    if content is None:
        return None
    try:
        return content.read(0, content.size)
    finally:
        content.close()


def test_a_blob_that_is_not_what_it_promises_leaves_nothing(store: Store) -> None:
    with pytest.raises(DigestMismatchError) as caught:
        store.put_blob("a", Digest.of(HELLO), [b"hell", b"0"])
    assert caught.value.expected == str(Digest.of(HELLO))
    assert files(store.folder) == set()
    assert store.repositories() == []


def test_a_source_that_breaks_off_leaves_nothing(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield b"hel"
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        store.put_blob("a", Digest.of(HELLO), broken())
    assert files(store.folder) == set()


def test_equal_blobs_of_two_repositories_are_one_file(store: Store) -> None:
    store.put_blob("a", Digest.of(HELLO), [HELLO])
    assert store.link_blob("b", Digest.of(HELLO))
    store.put_blob("c", Digest.of(HELLO), [HELLO])
    assert files(store.folder) == {f"blobs/sha256/{Digest.of(HELLO).hex}"}
    assert all(store.has_blob(name, Digest.of(HELLO)) for name in "abc")


def test_only_what_is_there_can_be_linked(store: Store) -> None:
    assert not store.link_blob("b", Digest.of(HELLO))
    store.put_blob("a", Digest.of(HELLO), [HELLO])
    assert not store.link_blob("b", Digest.of(HELLO), "c")
    assert store.repositories() == ["a"]


@pytest.mark.parametrize("name", ["../a", "A", "", "a//b", "a" * 256])
def test_what_is_no_repository_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not a repository name"):
        store.put_blob(name, Digest.of(HELLO), [HELLO])
    with pytest.raises(ValueError, match="not a repository name"):
        store.put_manifest(name, image().manifest, OCI_MANIFEST, [])


def test_a_manifest_with_a_missing_blob_changes_nothing(store: Store) -> None:
    sample = image()
    store.put_blob("a", Digest.of(sample.config), [sample.config])
    store.put_blob("elsewhere", Digest.of(sample.layer), [sample.layer])
    with pytest.raises(BlobMissingError) as caught:
        store.put_manifest("a", sample.manifest, OCI_MANIFEST, ["1"])
    assert caught.value.digest == Digest.of(sample.layer)
    assert store.tags("a") == []


def test_a_blob_of_another_size_than_the_manifest_says_is_refused(store: Store) -> None:
    store.put_blob("a", Digest.of(HELLO), [HELLO])
    entry = descriptor(HELLO).as_json() | {"size": 6}
    data = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry, "layers": []})
    with pytest.raises(ManifestInvalidError, match="5 bytes, the manifest says 6"):
        store.put_manifest("a", data, OCI_MANIFEST, ["1"])


def test_an_empty_blob_in_mounted_content_counts_as_there(store: Store, tmp_path: Path) -> None:
    with Store.open(tmp_path / "mounted") as mounted:
        mounted.put_blob("a", Digest.of(b""), [])
        data = strictjson.canonical(
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(b"").as_json(), "layers": []}
        )
        digest = store.put_manifest("a", data, OCI_MANIFEST, ["1"], elsewhere=mounted)
    assert store.manifest("a", digest) == (data, OCI_MANIFEST)


def test_a_tag_follows_its_last_manifest(store: Store) -> None:
    first, second = push(store, "a", b"1", "latest"), push(store, "a", b"2", "latest", "2")
    found = store.resolve("a", "latest")
    assert found is not None
    assert found.digest == second
    assert store.manifest("a", first) is not None


def test_a_damaged_file_is_as_if_it_were_missing_and_the_next_push_mends_it(store: Store) -> None:
    digest = push(store, "a", b"1", "latest")
    for path in (store.folder / "blobs/sha256").iterdir():
        with path.open("ab") as stream:
            stream.write(b"x")
    assert store.manifest("a", digest) is None
    assert all(read(store, "a", blob) is None for blob in image(b"1").blobs)
    assert not any(store.has_blob("a", blob) for blob in image(b"1").blobs)
    push(store, "a", b"1")
    assert store.manifest("a", digest) is not None
    assert all(read(store, "a", blob) == data for blob, data in image(b"1").blobs.items())


def test_a_manifest_with_a_flipped_bit_is_not_given_out(store: Store) -> None:
    digest = push(store, "a", b"1", "latest")
    path = store.folder / "blobs/sha256" / digest.hex
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    assert store.manifest("a", digest) is None


def test_a_blob_that_is_read_while_it_is_deleted_is_read_to_its_end(store: Store) -> None:
    store.put_blob("a", Digest.of(HELLO), [HELLO])
    content = store.blob("a", Digest.of(HELLO))
    assert content is not None
    assert store.delete_blob("a", Digest.of(HELLO))
    assert store.blob("a", Digest.of(HELLO)) is None
    assert content.read(0, 5) == HELLO
    content.close()


def test_an_index_keeps_knowing_what_it_leaves_out(store: Store) -> None:
    child = descriptor(b"another platform", OCI_MANIFEST)
    data = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child.as_json()]})
    digest = store.put_manifest("a", data, OCI_INDEX, ["multi"])
    assert store.is_absent("a", child.digest)
    assert store.delete_manifest("a", digest)
    assert not store.is_absent("a", child.digest)


def test_partial_files_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with Store.open(folder) as store:
        incoming = folder / "incoming"
        dead, young = incoming / f"{durable.TEMPORARY}dead", incoming / f"{durable.TEMPORARY}young"
        orphan = incoming / ("0" * 32)
        for path in (dead, young, orphan):
            path.touch()
        session = store.uploads.begin("a", "me")
        store.uploads.write("a", "me", session.id).save()
        writing = store.uploads.begin("a", "me")
        with store.uploads.write("a", "me", writing.id):
            for path in incoming.iterdir():
                if path != young:
                    os.utime(path, (0, path.stat().st_mtime - 2 * durable.ORPHAN_SECONDS))
            Store.open(folder).close()
            assert {path.name for path in incoming.iterdir()} == {young.name, session.id, writing.id}


def test_a_store_of_another_version_is_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        connection.execute("UPDATE facts SET value = '99' WHERE name = 'version'")
    connection.close()
    with pytest.raises(SiteError) as caught:
        Store.open(tmp_path)
    assert caught.value.reference == "store-version-unknown"


@pytest.mark.parametrize("kind", ["a file", "a folder without a database in its place"])
def test_what_cannot_be_a_store_is_named(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "store"
    if kind == "a file":
        folder.write_text("not a folder")
    else:
        folder.mkdir()
        (folder / "index.sqlite").write_text("not a database " * 100)
    with pytest.raises(SiteError) as caught:
        Store.open(folder)
    assert (caught.value.reference, caught.value.where) == ("store-unusable", str(folder))
    assert caught.value.seen


def test_a_store_that_could_not_be_opened_is_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    (tmp_path / "index.sqlite").write_text("not a database " * 100)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(SiteError):
        Store.open(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    rebuild(tmp_path, Silent())  # by this very process: it holds nothing of the store


def work(folder: Path, number: int) -> list[Digest]:
    """What one of several processes does: pushes of its own, and one image that all push."""
    with Store.open(folder) as store:
        push(store, "shared", b"the same for all", "latest", f"p{number}")
        return [push(store, f"own/p{number}", f"{number} {turn}".encode(), f"t{turn}") for turn in range(5)]


def test_several_processes_begin_and_fill_one_store_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(work, [folder] * 4, range(4)))
    with Store.open(folder) as store:
        assert store.repositories() == [*(f"own/p{number}" for number in range(4)), "shared"]
        assert store.tags("shared") == ["latest", "p0", "p1", "p2", "p3"]
        for number, digests in enumerate(done):
            assert store.tags(f"own/p{number}") == [f"t{turn}" for turn in range(5)]
            assert all(store.manifest(f"own/p{number}", digest) for digest in digests)
