"""Makes a lost or damaged index anew, from the ledger and the content's files.

Every manifest's file is read and proven. Repositories, manifests, what they name, and tags in their order come back;
uploads that were running, and blobs that no manifest names, do not. The old index is put aside, never removed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from registry.errors import SiteError
from registry.oci.digest import Digest
from registry.oci.manifest import Manifest
from registry.progress import Progress
from registry.store import changes, durable, placing
from registry.store.database import Database
from registry.store.faults import ManifestInvalidError
from registry.store.files import Files
from registry.store.ledger import Ledger, Recorded
from registry.store.presence import unused
from registry.store.store import INDEX, QUARANTINE

_NEW = "index.rebuilt"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came back, and what did not."""

    repositories: int
    manifests: int
    tags: int
    lost: tuple[str, ...]
    """`repository@digest` of manifests whose file is gone or damaged."""

    def as_json(self) -> dict[str, object]:
        """Return the report as documented for `--json`."""
        return {
            "repositories": self.repositories,
            "manifests": self.manifests,
            "tags": self.tags,
            "lost": list(self.lost),
        }


def rebuild(folder: Path, progress: Progress) -> Rebuilt:
    """Make a store's index anew. Raises SiteError if the store is in use or has no ledger."""
    ledger = Ledger(folder)
    if not ledger.path.exists():
        raise SiteError(
            "ledger-missing",
            "there is nothing to make the index from",
            where=str(ledger.path),
            hint="restore a backup: dryport registry restore",
        )
    with unused(folder):
        return _rebuild(folder, ledger, progress)


def _rebuild(folder: Path, ledger: Ledger, progress: Progress) -> Rebuilt:
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{_NEW}{suffix}").unlink(missing_ok=True)
    files = Files(folder)
    database = Database(folder / _NEW)
    if identity := ledger.store():
        database.identify(identity)
    recorded = ledger.read()
    lost: list[str] = []
    with progress.meter(
        "reading manifests", sum(len(one.manifests) for one in recorded.values()), "manifests"
    ) as meter:
        for repository, known in recorded.items():
            lost += _place(database, files, repository, known)
            meter.advance(len(known.manifests), repository)
    with database.writing() as connection:
        ledger.rewrite(connection)
    with database.reading() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    _put_aside(folder)
    durable.settle(folder / _NEW, folder / INDEX)
    manifests = sum(len(one.manifests) for one in recorded.values()) - len(lost)
    tags = sum(len(one.tags) for one in recorded.values())
    return Rebuilt(len(recorded), manifests, tags, tuple(lost))


def _place(database: Database, files: Files, repository: str, known: Recorded) -> list[str]:
    """Record one repository; return what of it is lost."""
    lost = []
    with database.writing() as connection:
        for digest, media_type in known.manifests.items():
            manifest = _read(files, digest, media_type)
            if manifest is None:
                lost.append(f"{repository}@{digest}")
                known.tags = {name: named for name, named in known.tags.items() if named != digest}
                continue
            for blob in manifest.blobs:
                if files.is_whole(blob.digest, blob.size):
                    changes.record_blob(connection, repository, blob.digest, blob.size)
            changes.add_manifest(connection, repository, digest, manifest, ())
        number = changes.numbered(connection, repository)
        for digest, names in known.together():
            changes.set_tags(connection, number, str(digest), names)
    return lost


def _read(files: Files, digest: Digest, media_type: str) -> Manifest | None:
    try:
        data = files.path(digest).read_bytes()
        return placing.parse(data, media_type) if digest.matches(data) else None
    except (FileNotFoundError, ManifestInvalidError):
        return None


def _put_aside(folder: Path) -> None:
    durable.make_folder(folder / QUARANTINE, 0o700)
    mark = f"{time.time_ns()}"
    for suffix in ("", "-wal", "-shm"):  # an index without its log would be an older index
        path = folder / f"{INDEX}{suffix}"
        if path.exists():
            durable.move(path, folder / QUARANTINE / f"{INDEX}{suffix}.{mark}")
