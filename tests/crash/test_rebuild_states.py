"""Every state in which a power cut can leave a store whose index is made anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from registry.errors import SiteError
from registry.progress import Silent
from registry.store.rebuild import rebuild
from registry.store.scrub import scrub
from registry.store.store import Store
from tests.crash.powercut import judged, unbroken
from tests.crash.tape import recorded
from tests.store_samples import ONE, TWO, push, shown

FOLDERS = ("files.__init__", "durable.make_folder")
OLD_NAME = ("durable.move: sync_folder(path.parent)", "durable.publish: sync_folder(final.parent)")
"""The folder that the old index leaves is the one in which the new one gets its name."""


@pytest.mark.parametrize("how", ["whole", "damaged", "lost"])
def test_a_rebuild_that_is_cut_off_leaves_a_whole_index_or_none_and_never_an_old_one(tmp_path: Path, how: str) -> None:
    disk = tmp_path / "disk"
    with Store.open(tmp_path / "store") as store:
        push(store, ONE, "1", "latest")
        with store.database.reading() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        push(store, TWO, "2", "latest")
        expected = shown(store)
        shutil.copytree(tmp_path / "store", disk)  # as a power cut left it: half of it is in the log
        (disk / "index.sqlite-shm").unlink()
    if how == "damaged":
        (disk / "index.sqlite").write_bytes(b"no database " * 100)
    elif how == "lost":
        (disk / "index.sqlite").unlink()
    before = (disk / "index.sqlite").read_bytes() if how != "lost" else b""
    with recorded(disk) as tape:
        assert rebuild(disk, Silent()).lost == ()
        tape.say("done")

    def judge(place: Path, said: frozenset[str]) -> None:
        kept = [path.read_bytes() for path in (place / "quarantine").glob("index.sqlite.*")]
        current = place / "index.sqlite"
        assert not before or before in kept or current.read_bytes() == before, "the old index is gone"
        try:
            Store.open(place).close()
        except SiteError:
            assert not said
            rebuild(place, Silent())
        with Store.open(place) as store:
            assert shown(store) == expected
            assert store.ledger.read()["a"].tags.keys() == expected["a"].keys()
            assert scrub(store, [], Silent()).damages == []

    if how == "lost":  # then only the ledger and the new index matter
        assert len(unbroken(tape, judge)) >= 10
    else:
        assert judged(tape, judge, FOLDERS, OLD_NAME) > 10
