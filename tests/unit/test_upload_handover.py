"""An upload that goes on in another process than it began in: as with several workers behind one address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.store.faults import DigestMismatchError
from registry.store.store import Store

REPOSITORY, WHO = "team/app", "deploy"
FIRST, SECOND = os.urandom(3 << 20), os.urandom(1 << 20)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    with Store.open(tmp_path / "store") as one, Store.open(tmp_path / "store") as other:
        yield one, other


def begin(store: Store, algorithm: str = "sha256") -> str:
    session = store.uploads.begin(REPOSITORY, WHO, algorithm)
    append(store, session.id, FIRST)
    return session.id


def append(store: Store, session: str, data: bytes) -> None:
    with store.uploads.write(REPOSITORY, WHO, session) as writer:
        writer.write([data] if data else [])
        writer.save()


def close(store: Store, session: str, expected: bytes, algorithm: str = "sha256", last: bytes = b"") -> None:
    digest = Digest.of(expected, algorithm)
    with store.uploads.write(REPOSITORY, WHO, session) as writer:
        if last:
            writer.write([last])
        writer.commit(digest)
    content = store.blob(REPOSITORY, digest)
    assert content is not None
    assert content.read(0, content.size) == expected
    content.close()


def test_another_process_closes_it(stores: tuple[Store, Store]) -> None:
    one, other = stores
    close(other, begin(one), FIRST)


def test_another_process_adds_the_rest_and_closes_it(stores: tuple[Store, Store]) -> None:
    one, other = stores
    close(other, begin(one), FIRST + SECOND, last=SECOND)


def test_two_processes_take_turns(stores: tuple[Store, Store]) -> None:
    one, other = stores
    session = begin(one)
    append(other, session, b"")
    append(other, session, SECOND)
    append(one, session, b"more")
    append(other, session, b"")
    close(one, session, FIRST + SECOND + b"more")


def test_a_digest_of_another_kind_is_hashed_from_the_file(stores: tuple[Store, Store]) -> None:
    one, other = stores
    close(other, begin(one), FIRST, "sha512")


def test_what_another_process_wrote_is_held_to_the_digest(stores: tuple[Store, Store]) -> None:
    one, other = stores
    session = begin(one)
    with pytest.raises(DigestMismatchError), other.uploads.write(REPOSITORY, WHO, session) as writer:
        writer.commit(Digest.of(SECOND))


def test_another_process_that_closes_it_does_not_read_the_file_again(stores: tuple[Store, Store]) -> None:
    one, other = stores
    session = begin(one)
    before = read_so_far()
    with other.uploads.write(REPOSITORY, WHO, session) as writer:
        writer.commit(Digest.of(FIRST))
    assert read_so_far() - before < len(FIRST) // 4


def read_so_far() -> int:
    """Bytes that this process passed through read calls."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"])
