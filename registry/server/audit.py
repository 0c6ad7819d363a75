"""Who changed what, and who was turned away: one JSON line each, chained, so that no line can be changed or taken out.

* Each line holds the SHA-256 of the line before it, across files; the first line of all holds 64 zeros.
* Lines are durable before the answer to a write goes out; many at once share one sync of the disk.
* Several processes write one log, one after the other under a lock. A line that a crash cut off is cut away by the
  next writer; the chain goes on from the last whole line.
* A disk that takes nothing does not stop the registry (deleting must stay possible): lines wait in memory, in order.
What a chain cannot tell is whether lines at its end are missing: keep the head that `audit verify` prints elsewhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from registry.errors import MediaError, SiteError
from registry.oci import strictjson
from registry.store import durable

SEGMENT_BYTES = 64 << 20
LINE_BYTES = 16 << 10
DETAIL = 256
START = "0" * 64
_TAIL = 2 * LINE_BYTES
_MOST_WAITING = 10_000
_FILE = re.compile(r"([0-9]{12})\.jsonl")
_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
_LOCK = "lock"
AUDIT = "audit"
"""The log's place in the access folder."""
COLLECT, RETAIN = "store.collect", "store.retain"
"""What upkeep is called in the log, by whomever it is done."""
log = logging.getLogger("dryport.registry.audit")


@dataclass(frozen=True, slots=True)
class Head:
    """How far a log goes: the number of its last line, and that line's digest."""

    sequence: int = 0
    digest: str = START

    @classmethod
    def parse(cls, text: str) -> Head:
        """Return the head that `str` spelled. Raises ValueError."""
        found = _HEAD.fullmatch(text)
        if not found:
            raise ValueError(f"a head is NUMBER:DIGEST, not {text[:100]!r}")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.sequence}:{self.digest}"


class Audit:
    """The log of one folder, for one process. Safe for several threads."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        durable.make_folder(folder, 0o700)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._waiting: list[dict[str, object]] = []
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self.is_stuck = False
        """Whether the disk refused the last lines; they go out with the next ones."""
        self.lost = 0
        """Lines given up since the start, because the disk took nothing for too long."""

    @property
    def waiting(self) -> int:
        """Lines that are not on disk yet."""
        return len(self._waiting)

    def note(self, event: str, **details: str | int) -> None:
        """Take in a line; `flush` makes it durable."""
        entry: dict[str, object] = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        entry |= {
            name: text[:DETAIL] if isinstance(text, str) else text for name, text in details.items() if text != ""
        }
        with self._guard:
            if len(self._waiting) >= _MOST_WAITING:
                self.lost += 1
                return
            self._waiting.append(entry)

    def flush(self) -> None:
        """Make every line taken in so far durable; never raises for a disk that refuses."""
        with self._writing:  # who waits here finds its line written already, most often
            with self._guard:
                entries, self._waiting = self._waiting, []
            if not entries:
                return
            try:
                self._append(entries)
                self.is_stuck = False
            except OSError as error:
                self.is_stuck = True
                log.error("the audit log takes no line: %s", error)  # noqa: TRY400 - the disk, not a bug
                with self._guard:
                    self._waiting = entries + self._waiting

    def _append(self, entries: Sequence[dict[str, object]]) -> None:
        with _locked(self._folder):
            files = segments(self._folder)
            head, path = Head(), self._folder / f"{1:012}.jsonl"
            if files:
                path = files[-1]
                head = _mend(path) or _head_before(files)
            lines = []
            for entry in entries:
                line = strictjson.canonical({**entry, "sequence": head.sequence + 1, "previous": head.digest})
                lines.append(line)
                head = Head(head.sequence + 1, hashlib.sha256(line).hexdigest())
            data = b"".join(lines)
            if files and path.stat().st_size + len(data) > self._segment_bytes:
                path = self._folder / f"{head.sequence - len(lines) + 1:012}.jsonl"
            _append_whole(path, data)


def _append_whole(path: Path, data: bytes) -> None:
    """Append all of it or, as far as the disk lets us, nothing: what failed is written again later."""
    size = path.stat().st_size if path.exists() else 0
    try:
        durable.append(path, data)
    except OSError:
        if path.exists():
            _cut(path, size)
        raise


def _cut(path: Path, size: int) -> None:
    handle = durable.open_partial(path, 0o600)
    try:
        os.ftruncate(handle, size)
    finally:
        os.close(handle)


def open_audit(access: Path) -> Audit:
    """Return the audit log of an access folder. Raises SiteError."""
    try:
        return Audit(access / AUDIT)
    except OSError as error:
        raise SiteError(
            "audit-unusable",
            "the audit log cannot be kept",
            where=str(access / AUDIT),
            seen=str(error),
            hint="let the registry's user write there, or name another folder: access: DIR",
        ) from error


def segments(folder: Path) -> Sequence[Path]:
    """Return the log's files, oldest first."""
    return sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name)) if folder.is_dir() else []


def entries(folder: Path) -> Iterator[dict[str, object]]:
    """Give every line's content, oldest first, the chain checked on the way; a line cut off at the end is left out.

    Raises MediaError at the first line that does not follow from the one before it.
    """
    for entry, _ in _chain(folder):
        yield entry


def verify(folder: Path, known: Head | None = None) -> Head:
    """Return the log's head. Raises MediaError if a line was changed, taken out or put in, or `known` is not in it."""
    head = Head()
    is_known = known is None or known == head
    for _, head in _chain(folder):
        is_known = is_known or head == known
    if not is_known:
        raise MediaError(
            "audit-head-missing",
            "the log does not hold the line that was its last one",
            where=str(folder),
            expected=str(known),
            seen=str(head),
            hint="lines at the end were taken away, or this is another log",
        )
    return head


def _chain(folder: Path) -> Iterator[tuple[dict[str, object], Head]]:
    head = Head()
    files = segments(folder)
    for path in files:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda file=file: file.readline(_TAIL), b""), 1):  # type: ignore[misc]
                if not line.endswith(b"\n") and path == files[-1]:
                    return  # cut off by a crash; the next writer cuts it away
                entry = _read(line)
                expected = {"sequence": head.sequence + 1, "previous": head.digest}
                if entry is None or not expected.items() <= entry.items():
                    raise MediaError(
                        "audit-broken",
                        "a line does not follow from the one before it",
                        where=f"{path} line {number}",
                        expected=f"sequence {head.sequence + 1} after {head.digest}",
                        seen=line[:200].decode("utf-8", "replace"),
                        hint="lines were changed, taken out or put in: compare with a backup",
                    )
                head = Head(head.sequence + 1, hashlib.sha256(line).hexdigest())
                yield entry, head


def _read(line: bytes) -> dict[str, object] | None:
    try:
        value = strictjson.loads(line, limit=_TAIL)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _mend(path: Path) -> Head | None:
    """Cut a half line off a file's end, and return the head; None if no whole line is left in it."""
    handle = durable.open_partial(path, 0o600)
    try:
        size = os.fstat(handle).st_size
        tail = os.pread(handle, _TAIL, max(size - _TAIL, 0))
        whole = tail[: tail.rfind(b"\n") + 1]
        if len(whole) < len(tail):
            os.ftruncate(handle, size - len(tail) + len(whole))
            os.fsync(handle)
    finally:
        os.close(handle)
    line = whole[whole[:-1].rfind(b"\n") + 1 :]
    entry = _read(line) if line else None
    sequence = entry.get("sequence") if entry else None
    return Head(sequence, hashlib.sha256(line).hexdigest()) if isinstance(sequence, int) else None


def _head_before(files: Sequence[Path]) -> Head:
    """Return the head before the last file, which holds no whole line."""
    return next((head for path in reversed(files[:-1]) if (head := _mend(path))), Head())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = durable.open_partial(folder / _LOCK, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
