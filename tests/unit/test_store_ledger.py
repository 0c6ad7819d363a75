"""The ledger says what the index says: after failed changes, collections, revivals, and in stores from before."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_MANIFEST
from registry.progress import Silent
from registry.store import ledger
from registry.store.gc import GRACE_SECONDS, collect
from registry.store.ledger import Ledger
from registry.store.rebuild import rebuild
from registry.store.store import Store
from tests.oci_samples import descriptor, image
from tests.store_samples import ONE, TWO, Clock, push, shown

UNTAGGED = 14 * 86400 + 1


@contextmanager
def nothing_commits(store: Store) -> Iterator[None]:
    """Let every commit fail, as on a full disk."""

    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    event.listen(store.database._engine, "commit", fail)
    try:
        yield
    finally:
        event.remove(store.database._engine, "commit", fail)


def rebuilt(folder: Path) -> dict[str, dict[str, str]]:
    """Lose the index, make it anew, and say what is shown then."""
    (folder / "index.sqlite").unlink()
    assert rebuild(folder, Silent()).lost == ()
    with Store.open(folder) as store:
        return shown(store)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.delete_tag("a", "1"),
        lambda store: store.delete_manifest("a", Digest.of(ONE.manifest)),
        lambda store: store.put_manifest("a", TWO.manifest, OCI_MANIFEST, ["1"]),
    ],
)
@pytest.mark.parametrize("next_writer", ["the same", "another"])
def test_a_change_that_was_not_committed_is_not_made_by_a_rebuild(
    tmp_path: Path, change: Callable[[Store], object], next_writer: str
) -> None:
    with Store.open(tmp_path) as store, Store.open(tmp_path) as other:
        push(store, ONE, "1")
        push(store, TWO)
        with nothing_commits(store), pytest.raises(OSError, match="No space"):
            change(store)
        push(store if next_writer == "the same" else other, image(b"three"), "3")
        before = shown(store)
    assert rebuilt(tmp_path) == before


def test_a_line_that_was_cut_short_by_a_full_disk_is_gone_with_the_next_change(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        push(store, ONE, "1")
        with store.ledger.path.open("ab") as file:
            file.write(b'\n{"untag":"a","tags":["1"]}\n{"drop":"a","dig')
        push(store, TWO, "2")
        before = shown(store)
    assert rebuilt(tmp_path) == before


def test_a_manifest_that_came_back_from_the_dead_comes_back_by_a_rebuild(tmp_path: Path) -> None:
    clock = Clock()
    with Store.open(tmp_path, clock) as store:
        child = push(store, ONE)
        clock.pass_(UNTAGGED)
        assert collect(store).marked_manifests == 1
        listed = [descriptor(ONE.manifest, OCI_MANIFEST).as_json()]
        index = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})
        store.put_manifest("a", index, OCI_INDEX, ["all"])
        assert store.manifest("a", child)
    rebuilt(tmp_path)
    with Store.open(tmp_path, clock) as store:
        assert store.manifest("a", child)
        assert all(store.has_blob("a", digest) for digest in ONE.blobs)


def test_what_was_collected_is_not_lost_but_gone(tmp_path: Path) -> None:
    clock = Clock()
    with Store.open(tmp_path, clock) as store:
        push(store, TWO, "2")
        push(store, ONE, repository="b")
        for _ in range(3):
            clock.pass_(UNTAGGED + GRACE_SECONDS)
            collect(store)
        assert store.repositories() == ["a"]
        before = shown(store)
    assert rebuilt(tmp_path) == before == {"a": {"2": str(Digest.of(TWO.manifest))}}


@pytest.mark.parametrize("is_raced", [False, True])
def test_collection_makes_a_ledger_short_that_grew_long_and_forgets_nothing_of_the_meantime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_raced: bool
) -> None:
    monkeypatch.setattr(ledger, "SLACK_BYTES", 1000)
    with Store.open(tmp_path) as store:
        push(store, ONE, "1")
        for _ in range(20):
            store.delete_tag("a", "1")
            push(store, ONE, "1")
        long = store.ledger.size()
        values = ledger._values

        def then_a_push(connection: Connection) -> Iterator[object]:
            yield from values(connection)
            monkeypatch.setattr(ledger, "_values", values)
            push(store, TWO, "2", "1")

        if is_raced:
            monkeypatch.setattr(ledger, "_values", then_a_push)
        collect(store)
        assert store.ledger.size() < long / 2
        assert shown(store) == {"a": dict.fromkeys("12", str(Digest.of(TWO.manifest)))} or not is_raced
        before = shown(store)
        collect(store)
        assert [*(tmp_path.glob(".part-*"))] == []
    assert rebuilt(tmp_path) == before


@pytest.mark.parametrize("how", ["no ledger", "no note of it"])
def test_a_store_from_before_gets_a_ledger_that_agrees(tmp_path: Path, how: str) -> None:
    with Store.open(tmp_path) as store:
        push(store, ONE, "1")
        before = shown(store)
    if how == "no ledger":
        (tmp_path / "index.ledger").unlink()
    else:
        (tmp_path / "index.ledger").write_bytes(b'{"untag":"a","tags":["1"]}\n')
        with sqlite3.connect(tmp_path / "index.sqlite") as connection:
            connection.execute("DELETE FROM facts WHERE name != 'version'")
        connection.close()
    with Store.open(tmp_path) as store:
        if how == "no note of it":
            store.delete_tag("a", "never set")
            push(store, ONE)
        assert {name: dict.fromkeys(one.tags) for name, one in Ledger(tmp_path).read().items()} == {"a": {"1": None}}
    assert rebuilt(tmp_path) == before
