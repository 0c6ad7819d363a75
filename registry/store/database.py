"""The index's database: SQLite in WAL mode, every commit on disk before it returns, several processes at once.

`reading()` asks; each question sees one consistent state. `writing()` takes the write lock at its beginning, so that
what it read is still true when it commits; it waits for other processes, and threads of one process queue up without
polling.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, select, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import OperationalError

from registry.errors import SiteError
from registry.store import durable, schema

WAIT_SECONDS = 60
_READ_WRITE = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class Database:
    """One SQLite file with the store's tables."""

    def __init__(self, path: Path, *, may_begin: bool = True) -> None:
        self._path = path
        self._engine = create_engine(f"sqlite:///{path}", pool_size=16, max_overflow=32)
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._writer = self._engine.execution_options(write=True)
        self._turn = threading.Lock()
        try:
            with _alone(path.with_suffix(".lock")):
                self._create(may_begin=may_begin)
                self._renew_indexes()
        except BaseException:
            self._engine.dispose()
            raise
        self._watcher = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._watching = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection for questions; each sees one consistent state, and waits for nobody.

        Raises OSError if the disk refuses what even a question needs.
        """
        with refusals(self._path), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection that alone may write; commits durably at the end, or changes nothing.

        Raises OSError if the disk refuses.
        """
        with refusals(self._path), self._turn, self._writer.connect() as connection, connection.begin():
            yield connection

    def version(self) -> int:
        """Return a number that is another one after each commit of any connection or process; takes microseconds."""
        with self._watching:
            number: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
        return number

    @property
    def identity(self) -> str:
        """What tells this store, and copies of it, from others."""
        with self.reading() as connection:
            found: str = connection.execute(
                select(schema.facts.c.value).where(schema.facts.c.name == "id")
            ).scalar_one()
        return found

    def identify(self, identity: str) -> None:
        """Let it be the index of a store that there was."""
        with self.writing() as connection:
            connection.execute(update(schema.facts).where(schema.facts.c.name == "id").values(value=identity))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        self._watcher.close()

    def _create(self, *, may_begin: bool) -> None:
        with self.writing() as connection:
            fact = schema.facts.c
            schema.facts.create(connection, checkfirst=True)
            seen = connection.execute(select(fact.value).where(fact.name == "version")).scalar()
            if seen is None and not may_begin:
                raise lost(self._path)
            if seen == "1":
                for statement in schema.FROM_1:
                    connection.exec_driver_sql(statement)
                connection.execute(update(schema.facts).where(fact.name == "version").values(value="2"))
                seen = "2"
            if seen in (None, str(schema.VERSION)):
                schema.metadata.create_all(connection)
                for statement in schema.TRIGGERS:
                    connection.exec_driver_sql(statement)
            if seen is None:
                connection.execute(insert(schema.facts).values(name="version", value=str(schema.VERSION)))
            named = insert(schema.facts).values(name="id", value=secrets.token_hex(16))
            connection.execute(named.on_conflict_do_nothing())
        if seen is not None and seen != str(schema.VERSION):
            raise unknown_version(self._path, seen)

    def _renew_indexes(self) -> None:
        """Make the indexes that the program before did not have; a full disk goes without until it has room."""
        wanted = {str(index.name): index for table in schema.metadata.tables.values() for index in table.indexes}
        with self.reading() as connection:
            known = set(connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'index'")))
        missing, needless = wanted.keys() - known, known & schema.REPLACED
        if missing or needless:
            with suppress(OSError), self.writing() as connection:
                for name in sorted(missing):
                    wanted[name].create(connection)
                for name in sorted(needless):
                    connection.exec_driver_sql(f"DROP INDEX {name}")


def unknown_version(path: Path, seen: str) -> SiteError:
    """Return the error for an index that is none of ours."""
    return SiteError(
        "store-version-unknown",
        "the store was written by another dryport",
        where=str(path),
        expected=f"version {schema.VERSION}",
        seen=f"version {seen}",
        hint="use the dryport that wrote it, or a newer one",
    )


def lost(path: Path) -> SiteError:
    """Return the error for content without an index: a new, empty one would make garbage of all of it."""
    return SiteError(
        "store-index-lost",
        "the store has content but no index",
        where=str(path),
        hint="dryport registry rebuild --store DIR, or restore a backup",
    )


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Raise as OSError what SQLite says of a disk that refuses: it keeps the system's reason to itself."""
    try:
        yield
    except OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        reason = errno.ENOSPC if code == sqlite3.SQLITE_FULL else None
        if code in _READ_WRITE:
            reason = durable.refusal(path.parent) or (errno.EIO if code == sqlite3.SQLITE_IOERR else None)
        if reason is None:
            raise
        raise OSError(reason, f"the index: {os.strerror(reason)}", str(path)) from error


def _prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - whatever the driver's connection is
    connection.isolation_level = None  # sqlite3 begins no transaction by itself: _begin does
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={WAIT_SECONDS * 1000}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("write", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold off other processes while the file is made: SQLite's change to WAL does not wait for others."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
