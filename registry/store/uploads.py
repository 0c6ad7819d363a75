"""Uploads that survive: opaque sessions in the index, bytes in `incoming/<id>`, bound to one repository and subject.

* A session's `size` is what is durable; after a crash, of client or server, it goes on there.
* One writer at a time, told by a lock on the file; a second one is refused, the session stays usable.
* The running hash lives in the process that wrote. Another process knows the digest so far by the index, which is all
  it takes to close the upload; if more is to come, it hashes what is there again, once.
* Where the repository has a quota, bytes are reserved before they are taken, so that several uploads together cannot
  pass it. The reservation is in the session's row. While nobody writes it is as large as the durable bytes; that of a
  writer who died is taken back when somebody else needs it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select, update

from registry.oci.digest import Digest
from registry.store import durable
from registry.store.changes import record_blob, reserved, used, within_quota
from registry.store.database import Database
from registry.store.faults import QuotaExceededError, UploadBusyError, UploadsOpenError, UploadUnknownError
from registry.store.files import Files
from registry.store.index import blob_size
from registry.store.policy import Rules
from registry.store.schema import uploads
from registry.store.writer import Before, Running, Writer

IDLE_SECONDS = 7 * 24 * 3600.0
MOST_OPEN = 1000
"""Sessions of one subject; then those make room that were idle for `CROWDED_SECONDS`."""
CROWDED_SECONDS = 3600.0
RESERVE_STEP = 64 << 20
"""How much more an upload of unknown length reserves at a time."""
_KEPT = 256
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Session:
    """An upload as the index knows it; `size` is durable."""

    id: str
    repository: str
    subject: str
    algorithm: str
    size: int


class Uploads:
    """The sessions of one store."""

    def __init__(self, database: Database, files: Files, rules: Callable[[str], Rules]) -> None:
        self.database = database
        self.files = files
        self.rules = rules
        """Gives a repository's rules. Raises PolicyError if nothing may be written to it."""
        self._running: OrderedDict[str, Running] = OrderedDict()
        self._guard = threading.Lock()
        self.sweep()

    def begin(self, repository: str, subject: str, algorithm: str = "sha256", expected: int = 0) -> Session:
        """Begin an upload of `subject` to `repository`, of `expected` bytes if known. Raises PolicyError."""
        rules = self.rules(repository)
        if self._open(subject) >= MOST_OPEN:
            self.sweep(CROWDED_SECONDS, subject)
            if self._open(subject) >= MOST_OPEN:
                raise UploadsOpenError(MOST_OPEN)
        session = Session(secrets.token_hex(16), repository, subject, algorithm, 0)
        row = {"id": session.id, "repository": repository, "subject": subject, "algorithm": algorithm, "size": 0}
        with self.database.writing() as connection:
            connection.execute(insert(uploads).values(row | {"touched": self.files.clock()}))
            if rules.quota_bytes is not None:
                self._reserve(connection, session, expected, expected, rules.quota_bytes)
        return session

    def reserve(self, session: Session, size: int) -> int:
        """Reserve the quota of an upload that reaches `size`; return how far it may go without asking again.

        Raises QuotaExceededError.
        """
        quota = self.rules(session.repository).quota_bytes
        if quota is None:
            return sys.maxsize
        with self.database.writing() as connection:
            return self._reserve(connection, session, size, size + RESERVE_STEP, quota)

    def give_back(self, identity: str) -> None:
        """Reserve no more than the durable bytes."""
        with self.database.writing() as connection:
            connection.execute(update(uploads).where(uploads.c.id == identity).values(reserved=uploads.c.size))

    def _reserve(self, connection: Connection, session: Session, least: int, most: int, quota: int) -> int:
        """Reserve between `least` and `most` bytes and return how many. Raises QuotaExceededError."""
        taken = self._taken(connection, session)
        if least > quota - taken or quota <= taken:
            self.take_back(connection, session.repository, besides=session.id)
            taken = self._taken(connection, session)
        if least > quota - taken or quota <= taken:
            raise QuotaExceededError(session.repository, quota, taken + max(least, 1))
        amount = min(most, quota - taken)
        connection.execute(update(uploads).where(uploads.c.id == session.id).values(reserved=amount))
        return amount

    @staticmethod
    def _taken(connection: Connection, session: Session) -> int:
        """Return how much of a repository's quota everybody else uses."""
        return used(connection, session.repository) + reserved(connection, session.repository, besides=session.id)

    def take_back(self, connection: Connection, repository: str, besides: str = "") -> None:
        """Take back what uploads to a repository reserved and nobody writes: their writers died."""
        wanted = select(uploads.c.id, uploads.c.size).where(
            uploads.c.repository == repository, uploads.c.reserved > 0, uploads.c.id != besides
        )
        for row in connection.execute(wanted).all():
            path, change = self.path(row.id), update(uploads).where(uploads.c.id == row.id)
            if row.size and not path.exists():  # its file became a blob, and a crash came before its row
                connection.execute(change.values(reserved=0))
            elif path.exists() and not durable.is_locked(path):  # one without a file has yet to begin
                connection.execute(change.values(reserved=uploads.c.size))

    def check(self, session: Session, digest: Digest, size: int) -> None:
        """Raise PolicyError if the session may not become a blob of its repository now."""
        quota = self.rules(session.repository).quota_bytes
        if quota is None:
            return
        with self.database.reading() as connection:
            if blob_size(connection, digest, session.repository) is None:
                wanted = self._taken(connection, session) + size
                if wanted > quota:
                    raise QuotaExceededError(session.repository, quota, wanted)

    def find(self, repository: str, subject: str, identity: str) -> Session:
        """Return the session. Raises UploadUnknownError also if it belongs to another repository or subject."""
        wanted = select(uploads).where(
            uploads.c.id == identity, uploads.c.repository == repository, uploads.c.subject == subject
        )
        with self.database.reading() as connection:
            row = connection.execute(wanted).first()
        if row is None:
            raise UploadUnknownError
        return Session(row.id, row.repository, row.subject, row.algorithm, row.size)

    def write(self, repository: str, subject: str, identity: str) -> Writer:
        """Open the session for one writer, at its durable end.

        Raises UploadUnknownError, UploadBusyError, PolicyError.
        """
        self.rules(repository)
        session = self.find(repository, subject, identity)
        path = self.path(session.id)
        handle = durable.open_partial(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Now that it is ours: the session may have moved on or ended before, and its file become a blob.
            session = self.find(repository, subject, identity)
            self._cut_back(session, handle)
            running = self._take(session) or self._resume(session, handle)
        except BlockingIOError as error:
            os.close(handle)
            raise UploadBusyError from error
        except UploadUnknownError:
            if _is_at(path, handle):
                durable.remove(path)
            os.close(handle)
            raise
        except BaseException:
            os.close(handle)
            raise
        return Writer(self, session, handle, running)

    def _cut_back(self, session: Session, handle: int) -> None:
        """Cut what is not durable off the session's file. Raises UploadUnknownError if this is not its file any more.

        A session whose durable bytes are gone is over.
        """
        if not _is_at(self.path(session.id), handle):
            raise UploadUnknownError
        if os.fstat(handle).st_size < session.size:
            self.end(session.id)
            raise UploadUnknownError
        os.ftruncate(handle, session.size)

    def is_written(self, identity: str) -> bool:
        """Say whether somebody writes the session now."""
        try:
            handle = os.open(self.path(identity), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def cancel(self, repository: str, subject: str, identity: str) -> None:
        """End the session and free its space. Raises UploadUnknownError, UploadBusyError."""
        self.write(repository, subject, identity).discard()

    def path(self, identity: str) -> Path:
        """Return the session's file."""
        if not _ID.fullmatch(identity):
            raise UploadUnknownError
        return self.files.incoming / identity

    def save(self, identity: str, running: Running, size: int) -> None:
        """Record what is durable now. Raises UploadUnknownError if the session has ended."""
        with self.database.writing() as connection:
            now = self.files.clock()
            wanted = update(uploads).where(uploads.c.id == identity)
            change = wanted.values(size=size, reserved=size, touched=now, seen=str(running.digest))
            if not connection.execute(change).rowcount:
                raise UploadUnknownError
        if running.is_told:
            return  # nothing was hashed here
        with self._guard:
            self._running[identity] = running
            while len(self._running) > _KEPT:
                self._running.popitem(last=False)

    def finish(self, identity: str, repository: str, digest: Digest, size: int) -> None:
        """Turn the session into a blob of its repository, in one transaction; what it had reserved is settled."""
        rules = self.rules(repository)
        with self.database.writing() as connection:
            if not connection.execute(delete(uploads).where(uploads.c.id == identity)).rowcount:
                raise UploadUnknownError
            with within_quota(connection, repository, rules, self.take_back):
                record_blob(connection, repository, digest, size)

    def end(self, identity: str) -> None:
        """Forget the session."""
        with self.database.writing() as connection:
            connection.execute(delete(uploads).where(uploads.c.id == identity))

    def _take(self, session: Session) -> Running | None:
        with self._guard:
            running = self._running.pop(session.id, None)
        return running if running and running.size == session.size else None

    def _resume(self, session: Session, handle: int) -> Running:
        """Go on where another process was: it told the digest, so the file is hashed again only if more comes."""
        wanted = select(uploads.c.seen).where(uploads.c.id == session.id)
        with self.database.reading() as connection:
            seen = connection.execute(wanted).scalar()
        if not seen:
            return Running.of_file(session.algorithm, handle)
        return Running(session.algorithm, Before(Digest.parse(seen), session.size, handle))

    def _open(self, subject: str) -> int:
        wanted = select(func.count()).select_from(uploads).where(uploads.c.subject == subject)
        with self.database.reading() as connection:
            return int(connection.execute(wanted).scalar_one())

    def sweep(self, idle: float = IDLE_SECONDS, subject: str | None = None) -> int:
        """End sessions idle for so long, and remove files that no session owns; return how many bytes that freed.

        With a `subject`, its sessions alone.
        """
        freed = 0
        with self.database.writing() as connection:
            now = self.files.clock()
            # A clock that was set back would keep them for ever: their time begins again.
            connection.execute(update(uploads).where(uploads.c.touched > now).values(touched=now))
            old = select(uploads.c.id).where(uploads.c.touched < now - idle)
            mine = old if subject is None else old.where(uploads.c.subject == subject)
            for identity in connection.scalars(mine).all():
                path = self.path(identity)
                if not path.exists() or durable.is_orphan(path):
                    connection.execute(delete(uploads).where(uploads.c.id == identity))
        for path in self.files.incoming.iterdir():
            if _ID.fullmatch(path.name) and durable.is_orphan(path) and not self._is_live(path.name):
                freed += durable.allocated(path)
                durable.remove(path)
        return freed

    def _is_live(self, identity: str) -> bool:
        with self.database.reading() as connection:
            return connection.execute(select(uploads.c.id).where(uploads.c.id == identity)).first() is not None


def _is_at(path: Path, handle: int) -> bool:
    """Say whether an open file is the one of this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
