"""Reads every file of a store, proves its digest, and mends what is damaged from where it is whole.

What cannot be mended is moved to `quarantine/`, so that nobody is served wrong bytes: it is answered as missing, and
the next push of it mends it. A row whose file is lost is told likewise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select, union

from registry.content import ContentSource
from registry.errors import DryportError
from registry.oci.digest import Digest
from registry.progress import Progress
from registry.store import durable
from registry.store.changes import BATCH
from registry.store.faults import DigestMismatchError, ReadOnlyError
from registry.store.runs import SCRUB, record
from registry.store.schema import contents, holdings, manifests, repositories
from registry.store.store import QUARANTINE, Store

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """Content that was not what its digest promises, or not there."""

    digest: Digest
    repositories: Sequence[str]
    """Who shows it; nobody, if it is garbage."""
    was_there: bool
    repaired: bool

    def as_json(self) -> dict[str, object]:
        """Return it as documented for `--json`."""
        return {
            "digest": str(self.digest),
            "repositories": list(self.repositories),
            "was": "damaged" if self.was_there else "missing",
            "repaired": self.repaired,
        }


@dataclass
class Scrubbed:
    """What a scrub saw."""

    files: int = 0
    size: int = 0
    damages: list[Damage] = field(default_factory=list)

    @property
    def lost(self) -> Sequence[Damage]:
        """What somebody shows and nobody could mend."""
        return [one for one in self.damages if one.repositories and not one.repaired]

    def as_json(self) -> dict[str, object]:
        """Return the report as documented for `--json`."""
        return {"files": self.files, "bytes": self.size, "damages": [one.as_json() for one in self.damages]}


def scrub(store: Store, sources: Sequence[ContentSource], progress: Progress, *, repair: bool = True) -> Scrubbed:
    """Read everything; mend from `sources` and put the rest aside, or only tell. Raises ReadOnlyError."""
    if repair and store.policy.read_only:
        raise ReadOnlyError
    with store.database.reading() as connection:
        total = connection.execute(select(func.coalesce(func.sum(contents.c.size), 0))).scalar_one()
    seen = Scrubbed()
    with progress.meter("reading the store", total) as meter:
        for digest, size in _contents(store):
            was_there, is_whole = _look(store, digest, size)
            if not is_whole and _is_known(store, digest):  # not collected meanwhile
                holders = _holders(store, digest)
                repaired = repair and any(_mend(store, source, holders, digest, size) for source in sources)
                if repair and was_there and not repaired:
                    _put_aside(store, digest, size)
                seen.damages.append(Damage(digest, holders, was_there, repaired))
            seen.files += 1
            seen.size += size
            meter.advance(size, str(digest))
    if repair:
        damages = {"damaged": len(seen.damages), "lost": len(seen.lost)}
        record(store, SCRUB, {"files": seen.files, "bytes": seen.size} | damages)
    return seen


def _contents(store: Store) -> Iterator[tuple[Digest, int]]:
    """Give all content by digest, a portion at a time: reading it takes hours, and no question should."""
    last = ""
    portion = select(contents).order_by(contents.c.digest).limit(BATCH)
    while True:
        with store.database.reading() as connection:
            rows = connection.execute(portion.where(contents.c.digest > last)).all()
        if not rows:
            return
        yield from ((Digest.parse(row.digest), row.size) for row in rows)
        last = rows[-1].digest


def _look(store: Store, digest: Digest, size: int) -> tuple[bool, bool]:
    """Say whether the file is there, and whether it is whole; no lease is renewed by this."""
    try:
        handle = os.open(store.files.path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False, False
    hasher, offset = digest.hasher(), 0
    try:
        while block := os.pread(handle, BLOCK, offset):
            hasher.update(block)
            offset += len(block)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:  # the disk cannot read it
        return True, False
    finally:
        os.close(handle)
    return True, offset == size and hasher.hexdigest() == digest.hex


def _is_known(store: Store, digest: Digest) -> bool:
    with store.database.reading() as connection:
        return bool(connection.execute(select(contents.c.size).where(contents.c.digest == str(digest))).first())


def _holders(store: Store, digest: Digest) -> list[str]:
    shown = union(
        *(
            select(repositories.c.name).join(table).where(table.c.digest == str(digest), table.c.dead.is_(None))
            for table in (holdings, manifests)
        )
    )
    with store.database.reading() as connection:
        return sorted(connection.scalars(shown))


def _mend(store: Store, source: ContentSource, holders: Sequence[str], digest: Digest, size: int) -> bool:
    for repository in holders:
        try:
            found = source.manifest(repository, digest)
            if found:
                with store.files.storing(digest, [found[0]]):
                    return True
            content = source.blob(repository, digest)
            if content is None:
                continue
            try:
                if content.size == size:
                    with store.files.taking(digest, content):
                        return True
            finally:
                content.close()
        except DigestMismatchError:
            continue  # this source is damaged too
        except DryportError:
            continue
    return False


def _put_aside(store: Store, digest: Digest, size: int) -> None:
    place = store.folder / QUARANTINE
    durable.make_folder(place, 0o700)
    with store.files.held(digest):
        if _look(store, digest, size) == (True, False):  # nobody mended it meanwhile
            durable.move(store.files.path(digest), place / f"{digest.algorithm}-{digest.hex}")
