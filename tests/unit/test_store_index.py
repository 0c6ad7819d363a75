"""The index: never replaced by an empty one, made anew from the ledger and the files, taken over from older stores."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from registry.errors import SiteError
from registry.progress import Silent
from registry.store.backup import backup
from registry.store.gc import collect
from registry.store.rebuild import rebuild
from registry.store.retention import retain
from registry.store.store import Store
from tests.oci_samples import image
from tests.store_samples import ONE, TWO, allow, damage, push, shown


def test_a_lost_index_is_never_replaced_by_an_empty_one(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        push(store, ONE, "1")
    (tmp_path / "index.sqlite").unlink()
    with pytest.raises(SiteError) as caught:
        Store.open(tmp_path)
    assert caught.value.reference == "store-index-lost"
    assert "rebuild" in caught.value.hint


@pytest.mark.parametrize("how", ["emptied", "replaced by a new one"])
def test_an_index_that_knows_nothing_makes_no_garbage_of_the_content(tmp_path: Path, how: str) -> None:
    with Store.open(tmp_path / "store") as store:
        push(store, ONE, "1")
        before = shown(store)
    (tmp_path / "store/index.sqlite").write_bytes(b"")
    if how == "replaced by a new one":
        sqlite3.connect(tmp_path / "store/index.sqlite").execute("CREATE TABLE other (x)").connection.close()
    with pytest.raises(SiteError) as caught:
        Store.open(tmp_path / "store")
    assert caught.value.reference == "store-index-lost"
    rebuild(tmp_path / "store", Silent())
    with Store.open(tmp_path / "store") as store:
        assert shown(store) == before


def test_a_ledger_that_knows_more_than_an_old_index_is_put_aside_and_not_lost(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        push(store, ONE, "1")
    shutil.copy(tmp_path / "index.sqlite", tmp_path / "old")
    with Store.open(tmp_path) as store:
        push(store, TWO, "2")
        expected, lines = shown(store), store.ledger.path.read_bytes()
    shutil.move(tmp_path / "old", tmp_path / "index.sqlite")
    for _ in range(2):
        Store.open(tmp_path).close()
        assert (tmp_path / "quarantine/index.ledger").read_bytes() == lines
    shutil.copy(tmp_path / "quarantine/index.ledger", tmp_path / "index.ledger")
    rebuild(tmp_path, Silent())
    with Store.open(tmp_path) as store:
        assert shown(store) == expected


def test_a_store_stays_itself_through_a_rebuild(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        push(store, ONE, "1")
        identity = store.database.identity
        backup(store, tmp_path / "backup", Silent())
    (tmp_path / "store/index.sqlite").unlink()
    rebuild(tmp_path / "store", Silent())
    with Store.open(tmp_path / "store") as store:
        assert store.database.identity == identity
        backup(store, tmp_path / "backup", Silent())


@pytest.mark.parametrize("how", ["lost", "damaged", "whole"])
def test_an_index_is_made_anew_from_the_ledger_and_the_files(tmp_path: Path, how: str) -> None:
    with Store.open(tmp_path) as store:
        push(store, ONE, "1", "latest")
        push(store, TWO, "2", "latest")
        gone = push(store, image(b"gone"), "gone", "too", repository="b/c")
        push(store, TWO, "stays", "dropped", repository="b/c")
        store.delete_manifest("b/c", gone)
        store.delete_tag("b/c", "dropped")
        before = shown(store)
        if how == "damaged":
            collect(store)  # which writes the ledger anew
        with pytest.raises(SiteError) as caught:
            rebuild(tmp_path, Silent())
        assert caught.value.reference == "store-in-use"
    if how == "lost":
        (tmp_path / "index.sqlite").unlink()
    elif how == "damaged":
        (tmp_path / "index.sqlite").write_bytes(b"no database" * 100)
    with (tmp_path / "index.ledger").open("ab") as file:
        file.write(b'\n{"put":"cut sho')
    done = rebuild(tmp_path, Silent())
    assert (done.repositories, done.manifests, done.tags, done.lost) == (2, 3, 4, ())
    with Store.open(tmp_path) as store:
        assert shown(store) == before
        for sample, name in ((ONE, "a"), (TWO, "a"), (TWO, "b/c")):
            assert all(store.has_blob(name, digest) for digest in sample.blobs)
        allow(store, "keep: [{tags: '*', previous: 0}]")
        assert [one.tag for one in retain(store)] == ["1"]  # the order in which tags were set is known still


def test_a_rebuild_tells_what_is_lost(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        digest = push(store, ONE, "1")
        push(store, TWO, "2")
        damage(store, digest)
    assert rebuild(tmp_path, Silent()).lost == (f"a@{digest}",)
    with Store.open(tmp_path) as store:
        assert store.tags("a") == ["2"]


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        first, second = push(store, ONE, "1"), push(store, TWO, "2", repository="b")
        _, one, two = (b"\n%s\n" % line for line in store.ledger.path.read_bytes().split(b"\n") if line)
        for length in range(len(one)):
            store.ledger.path.write_bytes(one[:length] + two)
            assert store.ledger.read()["b"].tags == {"2": second}
        store.ledger.path.write_bytes(one + two)
        assert store.ledger.read()["a"].tags == {"1": first}


def test_a_store_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        push(store, ONE, "1")
        used = sum(map(len, (ONE.config, ONE.layer, ONE.manifest)))
    shutil.copy(tmp_path / "index.sqlite", tmp_path / "now")
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        made = "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'index') AND sql IS NOT NULL"
        for kind, name in connection.execute(made).fetchall():
            connection.execute(f"DROP {kind} {name}")
        for statement in (
            "CREATE INDEX manifests_by_subject ON manifests (repository, subject)",
            "ALTER TABLE repositories DROP COLUMN used",
            "ALTER TABLE repositories DROP COLUMN generation",
            "ALTER TABLE holdings DROP COLUMN dead",
            "ALTER TABLE manifests DROP COLUMN dead",
            "ALTER TABLE tags DROP COLUMN sequence",
            "ALTER TABLE uploads DROP COLUMN reserved",
            "ALTER TABLE uploads DROP COLUMN seen",
            "DELETE FROM facts WHERE name != 'version'",
            "UPDATE facts SET value = '1'",
        ):
            connection.execute(statement)
    connection.close()
    (tmp_path / "index.ledger").unlink()
    with Store.open(tmp_path) as store:
        push(store, TWO, "1")
        collect(store)
        assert list(store.ledger.read()["a"].tags) == ["1"]
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        now = connection.execute("SELECT used FROM repositories").fetchone()[0]
    assert now == used + sum(map(len, (TWO.config, TWO.layer, TWO.manifest)))
