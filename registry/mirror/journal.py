"""What a killed copy goes on from: uploads under way at a registry, each by repository and digest.

Whether something arrived, the target itself is asked; so there is nothing here that could be wrong about it. A row
outlives the process before its upload's first byte leaves, and a power cut once so much hangs on it that this is worth
a sync. Two copies with one journal exclude each other. What is left when a copy is complete is removed with the file.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from registry.client.uploads import Resumable
from registry.errors import SiteError
from registry.oci.digest import Digest
from registry.store import durable

SYNC_BYTES = 32 << 20
"""What may be sent again after a power cut; syncs for less would cost more time than that takes."""
_TABLE = """CREATE TABLE IF NOT EXISTS uploads
    (repository TEXT, digest TEXT, location TEXT NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (repository, digest))"""


@dataclass
class Kept:
    """One upload's row."""

    journal: Journal
    repository: str
    digest: Digest
    session: Resumable | None
    is_synced: bool = False

    def keep(self, session: Resumable | None) -> None:
        """Remember where the upload goes on; what is only further along the same way is not written."""
        before, self.session = self.session, session
        is_worth_it = session is not None and session.offset >= SYNC_BYTES
        is_new = before is None or session is None or session.location != before.location
        if is_new or (is_worth_it and not self.is_synced):
            self.journal.put(self.repository, self.digest, session, is_synced=is_worth_it)
            self.is_synced = is_worth_it


class Journal:
    """The uploads of one copy; without a file, nothing outlives the process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._guard = -1
        if path:
            durable.make_folder(path.parent, 0o700)
            self._guard = _exclusive(path)
        self._rows = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._rows.execute("PRAGMA journal_mode=WAL").close()
        self._rows.execute(_TABLE).close()

    @classmethod
    def none(cls) -> Journal:
        """Return a journal that is kept nowhere."""
        return cls(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def upload(self, repository: str, digest: Digest) -> Iterator[Kept]:
        """Give what is known of an upload; when it arrived, nothing is kept of it."""
        with self._lock:
            found = self._rows.execute(
                "SELECT location, offset FROM uploads WHERE repository = ? AND digest = ?", (repository, str(digest))
            ).fetchone()
        kept = Kept(self, repository, digest, Resumable(*found) if found else None)
        yield kept
        if kept.session:
            kept.keep(None)

    def put(self, repository: str, digest: Digest, session: Resumable | None, *, is_synced: bool = True) -> None:
        """Write or remove a row; when this returns it outlives the process, and synced a power cut too."""
        row = (repository, str(digest))
        with self._lock:
            self._rows.execute(f"PRAGMA synchronous={'FULL' if is_synced else 'NORMAL'}")
            if session is None:
                self._rows.execute("DELETE FROM uploads WHERE repository = ? AND digest = ?", row)
            else:
                values = (*row, session.location, session.offset)
                self._rows.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?)", values)

    def done(self) -> None:
        """Forget everything: the copy is complete."""
        with self._lock:
            self._rows.execute("DELETE FROM uploads")

    def close(self) -> None:
        """Let go; a journal without rows leaves no file."""
        with self._lock:
            is_empty = not self._rows.execute("SELECT 1 FROM uploads LIMIT 1").fetchone()
            self._rows.close()
        if self._path and self._guard >= 0:
            if is_empty:
                for end in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + end).unlink(missing_ok=True)
                _guard_file(self._path).unlink(missing_ok=True)
            os.close(self._guard)
            self._guard = -1


def _guard_file(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _exclusive(path: Path) -> int:
    handle = os.open(_guard_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(handle).st_nlink:  # whoever had it has ended, and taken it away
            os.close(handle)
            return _exclusive(path)
    except BlockingIOError as error:
        os.close(handle)
        raise SiteError(
            "copy-under-way",
            "another copy uses this journal",
            where=str(path),
            hint="wait for it to end, or name another journal: --journal FILE",
        ) from error
    return handle
