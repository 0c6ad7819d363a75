"""Backup of a store in use, and its restoration."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from registry.errors import MediaError, SiteError
from registry.oci.digest import Digest
from registry.progress import Meter, Silent
from registry.store.backup import backup, restore
from registry.store.files import place_of
from registry.store.gc import LOCK, alone, collect
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
    with pytest.raises(SiteError):
        backup(store, store.folder / "inside", Silent())


@pytest.mark.parametrize("part", ["index", "ledger", "policy"])
@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_a_backup_whose_index_ledger_or_policy_is_not_whole_is_refused(
    store: Store, tmp_path: Path, part: str, how: str
) -> None:
    push(store, ONE, "1")
    allow(store, "immutable_tags: ['1']")
    backup(store, tmp_path / "backup", Silent())
    digest = Digest.parse(json.loads((tmp_path / "backup/backup.json").read_text())[part])
    path = place_of(tmp_path / "backup", digest)
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(MediaError) as caught:
        restore(tmp_path / "backup", tmp_path / "restored", Silent())
    assert (caught.value.reference, caught.value.where) == ("backup-damaged", str(path))
    assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "StoreBackup", "index": "x", "ledger": "y"}', "{"])
def test_a_statement_that_is_none_makes_no_backup(store: Store, tmp_path: Path, text: str) -> None:
    push(store, ONE, "1")
    backup(store, tmp_path / "backup", Silent())
    (tmp_path / "backup/backup.json").write_text(text)
    with pytest.raises(MediaError) as caught:
        restore(tmp_path / "backup", tmp_path / "restored", Silent())
    assert caught.value.reference == "backup-incomplete"
    backup(store, tmp_path / "backup", Silent())
    restore(tmp_path / "backup", tmp_path / "restored", Silent())


def test_the_backup_of_another_store_is_not_replaced(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1")
    backup(store, tmp_path / "backup", Silent())
    with Store.open(tmp_path / "other") as other, pytest.raises(SiteError) as caught:
        backup(other, tmp_path / "backup", Silent())
    assert caught.value.reference == "backup-of-another"
    restore(tmp_path / "backup", tmp_path / "restored", Silent())
    with Store.open(tmp_path / "restored") as restored:  # which goes on where the first was
        push(restored, TWO, "2")
        assert backup(restored, tmp_path / "backup", Silent()).copied == 3


def test_two_backups_into_one_folder_do_not_run_at_once(store: Store, tmp_path: Path) -> None:
    backup(store, tmp_path / "backup", Silent())
    with alone(tmp_path / "backup" / LOCK), pytest.raises(SiteError) as caught:
        backup(store, tmp_path / "backup", Silent())
    assert caught.value.reference == "store-busy"


def test_a_restoration_takes_no_store_from_those_who_use_it(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1")
    backup(store, tmp_path / "backup", Silent())

    class Slow(Silent):
        """Somebody begins the store while its content is being restored."""

        def meter(self, label: str, total: int, unit: str = "B") -> AbstractContextManager[Meter]:
            with pytest.raises(SiteError) as caught:
                Store.open(tmp_path / "restored")
            assert caught.value.reference == "store-being-made"
            with pytest.raises(SiteError) as caught:
                restore(tmp_path / "backup", tmp_path / "restored", Silent())
            assert caught.value.reference == "store-in-use"
            return super().meter(label, total, unit)

    restore(tmp_path / "backup", tmp_path / "restored", Slow())
    with Store.open(tmp_path / "restored") as restored:
        push(restored, TWO, "2")
        with pytest.raises(SiteError) as caught:
            restore(tmp_path / "backup", tmp_path / "restored", Silent())
    assert caught.value.reference == "store-in-use"


def test_damage_in_a_store_is_told_by_its_backup_and_not_copied(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1")
    damage(store, Digest.of(ONE.layer))
    assert backup(store, tmp_path / "backup", Silent()).damaged == (str(Digest.of(ONE.layer)),)
    assert not (tmp_path / "backup/blobs/sha256" / Digest.of(ONE.layer).hex).exists()
