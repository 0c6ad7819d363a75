"""Each thing that a protocol asks of the disk is refused in turn: for good by a full disk, once by a failing one.

Whatever was refused: the error is the disk's own, nothing acknowledged is lost, nothing half is left and no space taken
by it, and the same process goes on when the disk takes something again.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.errors import SiteError
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.progress import Silent
from registry.store import durable
from registry.store.backup import backup, restore
from registry.store.gc import collect
from registry.store.rebuild import rebuild
from registry.store.scrub import scrub
from registry.store.store import Store
from tests.crash.refusing import refusing
from tests.store_samples import ONE, TWO, damage, push, shown

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
EVERYWHERE = (errno.ENOSPC, errno.EIO)
"""These meet every step; the others the first and the last of each kind."""
LAYER = Digest.of(ONE.layer)


@dataclass
class Place:
    """A store in use, a mirror of it, its backup, and room for what is made."""

    folder: Path
    store: Store
    mirror: Store

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    @property
    def made(self) -> Path:
        return self.folder / "made"


Work = Callable[[Place], object]


def push_at_once(place: Place) -> None:
    push(place.store, ONE, "1")


def push_in_pieces(place: Place) -> None:
    """As a client does that begins anew when its session is gone."""
    session = place.store.uploads.begin("a", "me")
    for part in (ONE.layer[:40], ONE.layer[40:]):
        with place.store.uploads.write("a", "me", session.id) as writer:
            try:
                writer.write([part])
                writer.save()
            except OSError:
                writer.discard()
                raise
    with place.store.uploads.write("a", "me", session.id) as writer:
        try:
            writer.commit(LAYER)
        except OSError:
            writer.discard()
            raise
    place.store.put_blob("a", Digest.of(ONE.config), [ONE.config])
    place.store.put_manifest("a", ONE.manifest, OCI_MANIFEST, ["1"])


def take_away(place: Place) -> None:
    place.store.delete_tag("a", "2")
    place.store.delete_manifest("a", Digest.of(TWO.manifest))


def collecting(place: Place) -> None:
    for _ in range(2):
        collect(place.store, lease=-1, grace=-1)


def backing_up(place: Place) -> None:
    backup(place.store, place.backup, Silent())


def restoring(place: Place) -> None:
    restore(place.backup, place.made, Silent())


def rebuilding(place: Place) -> None:
    rebuild(place.made, Silent())


def mending(place: Place) -> None:
    scrub(place.store, [place.mirror], Silent())


WORKS: list[Work] = [push_at_once, push_in_pieces, take_away, collecting, backing_up, restoring, rebuilding, mending]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    with Store.open(folder / "store") as store, Store.open(folder / "mirror") as mirror:
        push(store, TWO, "2")
        store.put_blob("a", Digest.of(b"garbage"), [b"garbage"])
        push(mirror, TWO, "2")
        backup(store, folder / "backup", Silent())
    shutil.copytree(folder / "store", folder / "made")
    return folder


@pytest.fixture
def fresh(prepared: Path, tmp_path: Path) -> Callable[[], AbstractContextManager[Path]]:
    shared = Path("/dev/shm")

    @contextmanager
    def give() -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as name:
            shutil.copytree(prepared, name, dirs_exist_ok=True)
            yield Path(name)

    return give


def opened(folder: Path, work: Work) -> Iterator[Place]:
    with Store.open(folder / "store") as store, Store.open(folder / "mirror") as mirror:
        if work is restoring:
            shutil.rmtree(folder / "made")
        if work is mending:
            damage(store, Digest.of(TWO.layer))
        yield Place(folder, store, mirror)


def refused_with(work: Work, place: Place) -> int | str | None:
    """Return how the disk's refusal is told: an error number, or a reference; None if nothing was refused."""
    try:
        work(place)
    except OSError as error:
        return error.errno
    except SiteError as error:
        return error.reference
    return None


def look(place: Place) -> None:
    """See that nothing is half there, and nothing takes space for nothing."""
    left = list(place.folder.rglob(f"{durable.TEMPORARY}*"))
    assert left == [], "temporary files are left"
    with place.store.database.reading() as connection:
        known = set(connection.exec_driver_sql("SELECT digest FROM contents").scalars())
        sessions = {row[0]: row[1] for row in connection.exec_driver_sql("SELECT id, size FROM uploads")}
    for path in (place.store.folder / "incoming").iterdir():
        assert path.stat().st_size == sessions[path.name]
    on_disk = {f"sha256:{path.name}" for path in (place.store.folder / "blobs/sha256").iterdir()}
    assert on_disk <= known, "content is there that nobody can reach"
    for path in (place.store.folder / "blobs/sha256").iterdir():
        assert Digest.of(path.read_bytes()).hex == path.name or path.name == Digest.of(TWO.layer).hex


def finished(work: Work, place: Place) -> None:
    """See that the work is done, and all that was there before is whole."""
    if work in (push_at_once, push_in_pieces):
        assert shown(place.store)["a"]["1"] == str(Digest.of(ONE.manifest))
    if work is take_away:
        assert shown(place.store) == {"a": {}}
    else:
        assert shown(place.store)["a"]["2"] == str(Digest.of(TWO.manifest))
    if work is collecting:
        assert not place.store.files.path(Digest.of(b"garbage")).exists()
    if work is backing_up:
        restore(place.backup, place.folder / "again", Silent())
    if work in (restoring, rebuilding):
        with Store.open(place.made) as made:
            assert shown(made) == shown(place.store)
            assert scrub(made, [], Silent()).damages == []
    assert scrub(place.store, [], Silent()).damages == []


def steps_of(folder: Path, work: Work, error: int) -> list[int]:
    """Return which steps are refused: all, or the first and the last of each kind."""
    for place in opened(folder, work):
        with refusing(error, sys.maxsize) as disk:
            work(place)
    if error in EVERYWHERE:
        return list(range(1, len(disk.asked) + 1))
    first = {kind: number for number, kind in reversed([*enumerate(disk.asked, 1)])}
    last = {kind: number for number, kind in enumerate(disk.asked, 1)}
    return sorted({*first.values(), *last.values()})


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_whatever_the_disk_refuses_nothing_is_lost_left_or_stuck(
    fresh: Callable[[], AbstractContextManager[Path]], work: Work, error: int
) -> None:
    with fresh() as folder:
        steps = steps_of(folder, work, error)
    assert len(steps) > 3
    for last in steps:
        with fresh() as folder:
            refuse(folder, work, error, last)


def refuse(folder: Path, work: Work, error: int, last: int) -> None:
    """Let a work meet a refusal, look at what is left, and let it be done again by the same process."""
    for place in opened(folder, work):
        with refusing(error, last) as disk:
            seen = refused_with(work, place)
        assert disk.refused, f"there was no step {last}"
        where = f"after {os.strerror(error)} at step {last}, {disk.refused[0]}"
        assert seen in (None, error), f"told as {seen!r} {where}"
        try:
            if seen is not None:
                look(place)
                work(place)
            finished(work, place)
        except Exception as failure:
            raise AssertionError(f"{where}: {failure!r}") from failure
