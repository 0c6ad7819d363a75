"""Every state in which a power cut can leave backups, and a restoration."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import MediaError, SiteError
from registry.progress import Silent
from registry.store.backup import backup, restore
from registry.store.gc import collect
from registry.store.scrub import scrub
from registry.store.store import Store
from tests.crash.powercut import judged
from tests.crash.tape import recorded
from tests.store_samples import ONE, TWO, allow, push, shown

MAKING_A_FOLDER = ("durable.make_folder", "files.__init__")
"""Who made a folder syncs the one above it; so does who finds one that another process may have just made."""
BYTES = ("files.publishing: os.fdatasync", "durable.publish: os.fsync")


def words(store: Store) -> tuple[object, ...]:
    """What tells one state of a store from another."""
    return shown(store), store.policy.for_repository("a").immutable_tags, store.ledger.read()["a"].tags.keys()


def test_a_backup_that_is_cut_off_leaves_the_former_one_or_the_new_one(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with Store.open(tmp_path / "store") as store, recorded(disk) as tape:
        gone = push(store, ONE, "1", "latest")
        allow(store, "immutable_tags: ['never']")
        former = words(store)
        backup(store, disk / "backup", Silent())
        tape.say("first")
        push(store, TWO, "2", "latest")
        store.delete_manifest("a", gone)
        allow(store, "immutable_tags: ['now']")
        for _ in range(2):
            collect(store, lease=-1, grace=-1)
        latter = words(store)
        backup(store, disk / "backup", Silent())
        tape.say("second")

    def judge(place: Path, said: frozenset[str]) -> None:
        if not (place / "backup/backup.json").exists():
            assert not said
            with pytest.raises(MediaError, match="no finished backup"):
                restore(place / "backup", place / "restored", Silent())
            return
        restore(place / "backup", place / "restored", Silent())
        with Store.open(place / "restored") as restored:
            assert words(restored) in ([latter] if "second" in said else [former, latter])
            assert scrub(restored, [], Silent()).damages == []

    assert judged(tape, judge, MAKING_A_FOLDER, BYTES) > 30


def test_a_restoration_that_is_cut_off_is_no_store_until_it_is_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with Store.open(tmp_path / "store") as store:
        push(store, ONE, "1", "latest")
        allow(store, "immutable_tags: ['1']")
        backup(store, tmp_path / "backup", Silent())
        expected = words(store)
    with recorded(disk) as tape:
        restore(tmp_path / "backup", disk / "store", Silent())
        tape.say("done")

    def judge(place: Path, said: frozenset[str]) -> None:
        if not (place / "store/index.sqlite").exists():
            assert not said
            if any((place / "store").rglob("blobs/sha256/*")):
                with pytest.raises(SiteError) as caught:
                    Store.open(place / "store")
                assert caught.value.reference == "store-index-lost"
            restore(tmp_path / "backup", place / "store", Silent())
        with Store.open(place / "store") as restored:
            assert words(restored) == expected
            assert scrub(restored, [], Silent()).damages == []

    assert judged(tape, judge, MAKING_A_FOLDER, BYTES) > 20
