"""Long lists of a store: a page costs its entries and not the list's, whatever was asked and left out."""

from __future__ import annotations

import hashlib
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.store import changes, listing
from registry.store.database import Database
from registry.store.policy import Rules, matches
from registry.store.store import Store

SUBJECT = Digest.of(b"much described")
FEW, MANY = 1000, 20_000
Page = Callable[[Connection], object]
names = st.from_regex(r"[ab]{1,3}(/[ab_]{1,2})?", fullmatch=True)
globs = st.from_regex(r"[ab/_*]{1,5}", fullmatch=True)


def write_names(folder: Path, names: list[str]) -> None:
    with sqlite3.connect(folder / "index.sqlite") as connection:
        connection.execute("DELETE FROM repositories")
        connection.executemany("INSERT INTO repositories (name) VALUES (?)", ((name,) for name in names))
    connection.close()


def fill(folder: Path, count: int, annotations: str = "{}") -> Path:
    """Make a store of `count` repositories, the first with `count` referrers of one subject and `count` tags."""
    Store.open(folder).close()
    digests = [str(Digest.of(b"%d" % number)) for number in range(count)]
    with sqlite3.connect(folder / "index.sqlite") as connection:
        repositories = ((f"team{number:06}/app",) for number in range(count))
        connection.executemany("INSERT INTO repositories (name) VALUES (?)", repositories)
        connection.execute("INSERT INTO repositories (name) VALUES ('zz/last')")
        connection.executemany("INSERT INTO contents VALUES (?, 1)", ((digest,) for digest in digests))
        connection.executemany(
            "INSERT INTO manifests (repository, digest, media_type, size, subject, artifact_type, annotations)"
            " VALUES (1, ?, ?, 1, ?, ?, ?)",
            (
                (digest, OCI_MANIFEST, str(SUBJECT), "rare" if number % 500 == 0 else "usual", annotations)
                for number, digest in enumerate(digests)
            ),
        )
        connection.executemany(
            "INSERT INTO tags (repository, name, digest) VALUES (1, ?, ?)",
            ((f"t{number:06}", digests[0]) for number in range(count)),
        )
    connection.close()
    return folder


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {count: fill(tmp_path_factory.mktemp(f"{count}"), count) for count in (FEW, MANY)}


@contextmanager
def counted(connection: Connection) -> Iterator[list[int]]:
    """Count what SQLite does, in hundreds of its instructions."""
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    raw = connection.connection.dbapi_connection
    assert raw is not None
    raw.set_progress_handler(step, 100)
    yield steps
    raw.set_progress_handler(None, 0)


def work(folder: Path, page: Page) -> int:
    database = Database(folder / "index.sqlite")
    try:
        with database.reading() as connection, counted(connection) as steps:
            page(connection)
            return steps[0]
    finally:
        database.close()


def take(count: int, found: Iterator[object]) -> list[object]:
    return list(islice(found, count))


@pytest.mark.parametrize(
    "page",
    [
        lambda c: take(50, listing.repositories_after(c, "", ["*"])),
        lambda c: take(50, listing.repositories_after(c, "team000700/app", ["*"])),
        lambda c: take(50, listing.repositories_after(c, "", ["zz/*", "team0007*"])),
        lambda c: take(50, listing.repositories_after(c, "team000700/app", ["team*/app"])),
        lambda c: take(50, listing.tags_after(c, "team000000/app", "t000700")),
        lambda c: take(50, listing.referrers_after(c, "team000000/app", SUBJECT, "", None)),
        lambda c: take(50, listing.referrers_after(c, "team000000/app", SUBJECT, "sha256:8", None)),
        lambda c: take(2, listing.referrers_after(c, "team000000/app", SUBJECT, "", "rare")),
        lambda c: changes.revive(c, 1, [str(Digest.of(b"7"))]),
        lambda c: changes.set_tags(c, 1, str(Digest.of(b"7")), ["t000700"]),
        lambda c: changes.check_removable(c, "team000000/app", 1, Digest.of(b"7"), Rules(immutable_tags=("v*",))),
        lambda c: changes.remove_manifest(c, 1, Digest.of(b"7")),
        lambda c: changes.remove_tag(c, 1, "t000700"),
        lambda c: changes.record_blob(c, "team000000/app", Digest.of(b"7"), 1),
    ],
)
def test_a_page_or_a_change_is_no_more_work_in_a_long_list_than_in_a_short_one(
    stores: dict[int, Path], page: Page
) -> None:
    assert work(stores[MANY], page) <= work(stores[FEW], page) + 3


def test_a_page_of_large_annotations_holds_one_at_a_time(tmp_path: Path) -> None:
    text = "x" * 1_000_000
    with Store.open(fill(tmp_path, 100, f'{{"text": "{text}"}}')) as store:
        tracemalloc.start()
        with closing(store.referrers_after("team000000/app", SUBJECT)) as found:
            for item in islice(found, 50):
                assert item.annotations["text"] == text
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20_000_000


def test_what_was_not_taken_to_its_end_holds_no_connection(stores: dict[int, Path]) -> None:
    with Store.open(stores[FEW]) as store:
        for _ in range(200):  # more than the pool has
            with closing(store.repositories_after(globs=["a*", "t*", "z*"])) as found:
                next(found)
        store.put_blob("team000000/app", Digest.of(b"x"), [b"x"])


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("names")) as opened:
        yield opened


@settings(deadline=None)
@given(st.sets(names), st.lists(globs, max_size=4), names | st.just(""))
def test_names_come_as_if_all_had_been_looked_at(empty: Store, known: set[str], asked: list[str], last: str) -> None:
    write_names(empty.folder, sorted(known, key=lambda name: hashlib.sha256(name.encode()).digest()))
    expected = sorted(name for name in known if name > last and any(matches(glob, name) for glob in asked))
    assert list(empty.repositories_after(last, asked)) == expected


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers()), max_size=6), max_size=4))
def test_lists_are_merged_in_order_and_the_first_to_have_an_entry_gives_it(parts: list[list[tuple[int, int]]]) -> None:
    sorted_parts = [sorted(dict(part).items()) for part in parts]
    expected: dict[int, int] = {}
    for part in reversed(sorted_parts):
        expected |= dict(part)
    found = listing.merged([(entry for entry in part) for part in sorted_parts], key=lambda entry: str(entry[0]))
    assert list(found) == sorted(expected.items())


def test_a_store_of_a_program_before_gets_the_new_indexes_and_loses_what_they_replace(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    before = indexes(tmp_path)
    assert {"referrers", "referrers_by_type"} <= before
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        connection.execute("DROP INDEX referrers")
        connection.execute("DROP INDEX referrers_by_type")
        connection.execute("CREATE INDEX manifests_by_subject ON manifests (repository, subject)")
    connection.close()
    Store.open(tmp_path).close()
    assert indexes(tmp_path) == before


def indexes(folder: Path) -> set[str]:
    with sqlite3.connect(folder / "index.sqlite") as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    connection.close()
    return {name for (name,) in rows}
