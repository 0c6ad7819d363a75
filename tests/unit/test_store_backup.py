"""Backup of a store in use, and its restoration."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import MediaError, SiteError
from registry.oci.digest import Digest
from registry.progress import Silent
from registry.store.backup import backup, restore
from registry.store.gc import collect
from registry.store.scrub import scrub
from registry.store.store import Store
from tests.store_samples import ONE, TWO, allow, damage, push, shown


def test_a_backup_of_a_running_store_is_restored_whole(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1", "latest")
    allow(store, "immutable_tags: ['1']")
    session = store.uploads.begin("a", "me")
    with store.uploads.write("a", "me", session.id) as writer:
        writer.write([b"running"])
        assert backup(store, tmp_path / "backup", Silent()).copied == 3
    push(store, TWO, "2", repository="b")
    done = backup(store, tmp_path / "backup", Silent())
    assert (done.contents, done.copied) == (6, 3)
    assert restore(tmp_path / "backup", tmp_path / "restored", Silent()).copied == 6
    with Store.open(tmp_path / "restored") as restored:
        assert shown(restored) == shown(store)
        assert scrub(restored, [], Silent()).damages == []
        assert restored.policy == store.policy
        assert {name: one.tags for name, one in restored.ledger.read().items()} == {
            name: one.tags for name, one in store.ledger.read().items()
        }


def test_a_backup_forgets_what_the_store_forgot(store: Store, tmp_path: Path) -> None:
    digest = push(store, ONE, "1")
    backup(store, tmp_path / "backup", Silent())
    store.delete_manifest("a", digest)
    collect(store, lease=-1, grace=-1)
    done = backup(store, tmp_path / "backup", Silent())
    assert (done.contents, done.removed) == (0, 3)


def test_a_backup_that_is_none_is_refused(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1")
    folder = tmp_path / "backup"
    with pytest.raises(MediaError):
        restore(folder, tmp_path / "restored", Silent())
    backup(store, folder, Silent())
    with pytest.raises(SiteError):
        restore(folder, store.folder, Silent())
    with (folder / "index.sqlite").open("ab") as file:
        file.write(b"x")
    with pytest.raises(MediaError) as caught:
        restore(folder, tmp_path / "restored", Silent())
    assert caught.value.reference == "backup-damaged"
    with pytest.raises(SiteError):
        backup(store, store.folder / "inside", Silent())


def test_damage_in_a_store_is_told_by_its_backup_and_not_copied(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1")
    damage(store, Digest.of(ONE.layer))
    assert backup(store, tmp_path / "backup", Silent()).damaged == (str(Digest.of(ONE.layer)),)
    assert not (tmp_path / "backup/blobs/sha256" / Digest.of(ONE.layer).hex).exists()
