"""Backup of a store while it runs, and its restoration.

A backup is a folder with the same layout as a store, and `backup.json`, written last. The index is taken as one
consistent snapshot; collection waits, so that all content which the snapshot names stays. A second backup into the
same folder copies what is new and drops what is gone; one that was killed leaves the former backup whole. Every byte
is proven by its digest on its way, in both directions; disk is shared where the file system can.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, delete, select, text

from registry.errors import MediaError, SiteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.progress import Progress
from registry.store import durable, policy
from registry.store.faults import DigestMismatchError
from registry.store.files import Files
from registry.store.gc import LOCK, alone
from registry.store.ledger import Ledger
from registry.store.schema import contents, uploads
from registry.store.store import INDEX, Store

STATEMENT = "backup.json"
KIND = {"apiVersion": "dryport/v1", "kind": "StoreBackup"}
BLOCK = 1 << 20


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
    with alone(store.folder / LOCK):
        durable.make_folder(folder, 0o700)
        files = Files(folder)
        part = files.incoming / f"{durable.TEMPORARY}index"
        part.unlink(missing_ok=True)
        with store.database.reading() as connection:
            connection.execute(text("VACUUM INTO :path"), {"path": str(part)})
        with _opened(part) as snapshot:
            snapshot.exec_driver_sql("PRAGMA journal_mode=DELETE")
            snapshot.execute(delete(uploads))
            snapshot.commit()
            wanted = _contents(snapshot)
            done = _copy(store.folder, files, wanted, progress, "backing up")
            (folder / STATEMENT).unlink(missing_ok=True)  # from here on, until its end, the folder is no backup
            Ledger(folder).rewrite(snapshot)
        if (store.folder / policy.NAME).exists():
            durable.replace(folder / policy.NAME, (store.folder / policy.NAME).read_bytes())
        durable.settle(part, folder / INDEX)
    removed = _remove_others(files, wanted)
    report = Copied(len(wanted), sum(wanted.values()), *done[:2], removed, done[2])
    statement = {**KIND, "taken": datetime.now(UTC).isoformat(timespec="seconds"), "index": str(_digest(folder))}
    durable.replace(folder / STATEMENT, json.dumps(statement | report.as_json(), indent=1).encode() + b"\n")
    return report


def restore(backup_folder: Path, folder: Path, progress: Progress) -> Copied:
    """Make a store from a backup; a restoration that was killed goes on. Raises MediaError, SiteError."""
    try:
        statement = strictjson.loads((backup_folder / STATEMENT).read_bytes())
        index = Digest.parse(statement["index"])
        is_ours = statement["kind"] == KIND["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MediaError(
            "backup-incomplete",
            "there is no finished backup",
            where=str(backup_folder),
            seen=str(error),
            hint="name the folder that dryport registry backup filled; if it was cut off, run the backup again",
        ) from error
    if not is_ours or _digest(backup_folder) != index:
        raise MediaError(
            "backup-damaged",
            "the backup's index is not the one it was taken with",
            where=str(backup_folder),
            hint="restore another backup; if the store still lives, take a new one",
        )
    if (folder / INDEX).exists():
        raise SiteError(
            "store-exists", "there is a store already", where=str(folder), hint="restore into a new folder, then swap"
        )
    durable.make_folder(folder, 0o750)
    with _opened(backup_folder / INDEX, "?mode=ro&immutable=1&uri=true") as snapshot:
        wanted = _contents(snapshot)
    done = _copy(backup_folder, Files(folder), wanted, progress, "restoring")
    for name in (Ledger(backup_folder).path.name, policy.NAME, INDEX):  # the index last: with it, this is a store
        if (backup_folder / name).exists():
            durable.replace(folder / name, _blocks(backup_folder / name), 0o640)
    return Copied(len(wanted), sum(wanted.values()), *done[:2], 0, done[2])


def _copy(
    source: Path, target: Files, wanted: Mapping[Digest, int], progress: Progress, label: str
) -> tuple[int, int, tuple[str, ...]]:
    missing = {digest: size for digest, size in wanted.items() if not target.is_whole(digest, size)}
    damaged = []
    with progress.meter(label, sum(missing.values())) as meter:
        for digest, size in missing.items():
            try:
                target.copy_from(source / "blobs" / digest.algorithm / digest.hex, digest)
            except (DigestMismatchError, FileNotFoundError):
                damaged.append(str(digest))
            meter.advance(size, str(digest))
    copied = {digest: size for digest, size in missing.items() if str(digest) not in damaged}
    return len(copied), sum(copied.values()), tuple(damaged)


def _remove_others(files: Files, wanted: Mapping[Digest, int]) -> int:
    removed = 0
    for algorithm in ("sha256", "sha512"):
        for path in (files.blobs / algorithm).iterdir():
            with suppress(ValueError):
                if Digest(algorithm, path.name) not in wanted:
                    path.unlink()
                    removed += 1
    return removed


def _contents(connection: Connection) -> dict[Digest, int]:
    return {Digest.parse(row.digest): row.size for row in connection.execute(select(contents))}


def _digest(folder: Path) -> Digest:
    with (folder / INDEX).open("rb") as file:
        return Digest.of_stream(file)


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
