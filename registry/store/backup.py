"""Backup of a store while it runs, and its restoration.

A backup is a folder of content by digest, as a store has it, and `backup.json`, which names by digest what else makes
a store of it: the index, the ledger and the policy, which lie among the content. It is replaced last and at once: a
backup that was killed leaves the former one whole, and one that ended is there. The index is taken as one consistent
snapshot; collection waits, so that all content which the snapshot names stays. A second backup into the same folder
copies what is new and then drops what is gone. Every byte is proven by its digest on its way, in both directions; disk
is shared where the file system can.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, delete, select, text

from registry.errors import MediaError, SiteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.progress import Progress
from registry.store import durable, ledger, policy
from registry.store.database import refusals
from registry.store.faults import DigestMismatchError
from registry.store.files import Files, place_of
from registry.store.gc import LOCK, alone
from registry.store.presence import unused
from registry.store.schema import contents, uploads
from registry.store.store import INDEX, Store

STATEMENT = "backup.json"
KIND = {"apiVersion": "dryport/v1", "kind": "StoreBackup"}
BLOCK = 1 << 20
_PLACES = {"ledger": ledger.NAME, "policy": policy.NAME, "index": INDEX}
"""Where a store has what the statement names; the index comes last: with it, a folder is a store."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup or a restoration did."""

    contents: int
    size: int
    copied: int
    copied_bytes: int
    removed: int
    damaged: tuple[str, ...]
    """Digests of content that was not whole; the next scrub says where it is shown."""

    def as_json(self) -> dict[str, object]:
        """Return the report as documented for `--json`."""
        value = asdict(self)
        return value | {"bytes": value.pop("size"), "damaged": list(self.damaged)}


def backup(store: Store, folder: Path, progress: Progress) -> Copied:
    """Copy a running store into a folder. Raises SiteError if a collection runs or the folder holds something else."""
    if folder.resolve().is_relative_to(store.folder.resolve()):
        raise SiteError(
            "backup-inside",
            "a backup does not lie inside its store",
            where=str(folder),
            hint="name a folder elsewhere, best on another disk",
        )
    if folder.exists() and any(folder.iterdir()) and not (folder / "blobs").is_dir():
        raise SiteError("backup-folder", "the folder holds something else", where=str(folder), hint="name a new one")
    _refuse_another(folder, store)
    former = _former(folder)
    durable.make_folder(folder, 0o700)
    files = Files(folder)
    with alone(store.folder / LOCK), alone(folder / LOCK):
        with _snapshot(store, files.incoming) as part:
            with refusals(part), _opened(part) as snapshot:
                wanted = _contents(snapshot)
                done = _copy(store.folder, files, wanted, progress, "backing up")
                record, length = files.adopt(ledger.lines(snapshot))
                ledger.note(snapshot, length, length)
                snapshot.commit()
            named = {"index": _settled(files, part), "ledger": record}
        if (store.folder / policy.NAME).exists():
            named["policy"], _ = files.adopt(_blocks(store.folder / policy.NAME))
        report = Copied(len(wanted), sum(wanted.values()), *done[:2], 0, done[2])
        about = {"taken": datetime.now(UTC).isoformat(timespec="seconds"), "store": store.database.identity}
        parts = {name: str(digest) for name, digest in named.items()}
        durable.replace(
            folder / STATEMENT, json.dumps({**KIND, **about, **parts, **report.as_json()}, indent=1).encode() + b"\n"
        )
        gone = _remove_others(files, wanted.keys() | set(named.values()))
    return replace(report, removed=len(gone - former))


def restore(backup_folder: Path, folder: Path, progress: Progress) -> Copied:
    """Make a store from a backup; a restoration that was killed goes on. Raises MediaError, SiteError."""
    named = _named(backup_folder)
    for digest in named.values():
        if not _is_whole(place_of(backup_folder, digest), digest):
            raise MediaError(
                "backup-damaged",
                "the backup's index, ledger or policy is not the one it was taken with",
                where=str(place_of(backup_folder, digest)),
                hint="take it from another copy of the backup",
            )
    durable.make_folder(folder, 0o750)
    with unused(folder):
        if _has_another_index(folder, named["index"]):
            raise SiteError(
                "store-exists",
                "there is a store already",
                where=str(folder),
                hint="restore into a new folder, then swap",
            )
        with _opened(place_of(backup_folder, named["index"]), "?mode=ro&immutable=1&uri=true") as snapshot:
            wanted = _contents(snapshot)
        done = _copy(backup_folder, Files(folder), wanted, progress, "restoring")
        for part, name in _PLACES.items():
            if part in named:
                durable.replace(folder / name, _blocks(place_of(backup_folder, named[part])), 0o640)
    return Copied(len(wanted), sum(wanted.values()), *done[:2], 0, done[2])


def _has_another_index(folder: Path, index: Digest) -> bool:
    """Say whether there is an index, and not just the one to be restored, placed by a restoration that failed then."""
    is_in_use = any((folder / f"{INDEX}{suffix}").exists() for suffix in ("-wal", "-shm"))
    return (folder / INDEX).exists() and (is_in_use or not _is_whole(folder / INDEX, index))


def _refuse_another(folder: Path, store: Store) -> None:
    """Raise SiteError if the folder has the backup of another store: this one's would take its place."""
    with suppress(OSError, ValueError, AttributeError):
        owner = strictjson.loads((folder / STATEMENT).read_bytes()).get("store")
        if owner not in (None, store.database.identity):
            raise SiteError(
                "backup-of-another",
                "the folder holds the backup of another store",
                where=str(folder),
                hint="name a folder of this store's own",
            )


def _former(folder: Path) -> set[Digest]:
    """Return what the folder's backup so far consists of beside its content."""
    try:
        return set(_named(folder).values())
    except MediaError:
        return set()


def _named(folder: Path) -> dict[str, Digest]:
    """Return what a finished backup consists of beside its content. Raises MediaError."""
    seen = "a statement of another kind"
    try:
        match strictjson.loads((folder / STATEMENT).read_bytes()):
            case {"kind": "StoreBackup", "index": str(), "ledger": str(), **rest} as statement:
                wanted = _PLACES if "policy" in rest else _PLACES.keys() - {"policy"}
                return {name: Digest.parse(str(statement[name])) for name in wanted}
    except (OSError, ValueError) as error:
        seen = str(error)
    raise MediaError(
        "backup-incomplete",
        "there is no finished backup",
        where=str(folder),
        seen=seen,
        hint="dryport registry backup --store DIR --to DIR",
    )


@contextmanager
def _snapshot(store: Store, folder: Path) -> Iterator[Path]:
    """Give a file with the index as it is at one moment, without the uploads that run; it goes if it is not taken."""
    part = folder / f"{durable.TEMPORARY}index"
    part.unlink(missing_ok=True)
    try:
        with refusals(part):
            with store.database.reading() as connection:
                connection.execute(text("VACUUM INTO :path"), {"path": str(part)})
            with _opened(part) as snapshot:
                snapshot.exec_driver_sql("PRAGMA journal_mode=DELETE")
                snapshot.execute(delete(uploads))
                snapshot.commit()
        yield part
    finally:
        for path in (part, part.with_name(f"{part.name}-journal")):
            path.unlink(missing_ok=True)


def _settled(files: Files, path: Path) -> Digest:
    """Make a file part of the content and return by which digest."""
    with path.open("rb") as file:
        digest = Digest.of_stream(file)
    with files.held(digest):
        durable.settle(path, files.path(digest))
    return digest


def _copy(
    source: Path, target: Files, wanted: Mapping[Digest, int], progress: Progress, label: str
) -> tuple[int, int, tuple[str, ...]]:
    missing = {digest: size for digest, size in wanted.items() if not target.is_whole(digest, size)}
    damaged = []
    with progress.meter(label, sum(missing.values())) as meter:
        for digest, size in missing.items():
            try:
                target.copy_from(place_of(source, digest), digest)
            except (DigestMismatchError, FileNotFoundError):
                damaged.append(str(digest))
            meter.advance(size, str(digest))
    copied = {digest: size for digest, size in missing.items() if str(digest) not in damaged}
    return len(copied), sum(copied.values()), tuple(damaged)


def _remove_others(files: Files, wanted: Collection[Digest]) -> set[Digest]:
    removed = set()
    for algorithm in ("sha256", "sha512"):
        for path in (files.blobs / algorithm).iterdir():
            with suppress(ValueError):
                digest = Digest(algorithm, path.name)
                if digest not in wanted:
                    path.unlink()
                    removed.add(digest)
    return removed


def _contents(connection: Connection) -> dict[Digest, int]:
    return {Digest.parse(row.digest): row.size for row in connection.execute(select(contents))}


def _is_whole(path: Path, digest: Digest) -> bool:
    try:
        with path.open("rb") as file:
            return Digest.of_stream(file, digest.algorithm) == digest
    except FileNotFoundError:
        return False


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


@contextmanager
def _opened(path: Path, how: str = "") -> Iterator[Connection]:
    """Open a snapshot of an index."""
    engine = create_engine(f"sqlite:///file:{quote(str(path))}{how}" if how else f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
