"""The end of the audit log, read backwards: who changed what, and who was turned away, the latest first.

That the lines shown follow from one another is looked at here; the whole chain is proven by `registry audit verify`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from registry.oci import strictjson
from registry.server.audit import AUDIT, segments
from registry.server.catalogue.viewer import Shown, Viewer

MOST_LINES = 200
_BLOCK = 1 << 16
_LOOK_BYTES = 8 << 20
"""How far back a search for words looks."""
_OWN = ("sequence", "time", "event", "user", "address", "repository", "previous")


class TrailRow(Shown):
    """One line of audit."""

    sequence: int
    time: str
    event: str
    user: str
    address: str
    repository: str
    details: Mapping[str, str]


class TrailView(Shown):
    """The latest lines."""

    is_kept: bool
    """Whether this server keeps an audit log at all."""
    is_whole: bool
    """Whether each line looked at follows from the one before it."""
    rows: Sequence[TrailRow]


def trail(viewer: Viewer, query: str = "", most: int = MOST_LINES) -> TrailView:
    """Return the latest lines that hold every word of `query`."""
    folder = viewer.registry.settings.access
    if folder is None:
        return TrailView(is_kept=False, is_whole=True, rows=())
    words = query.lower().split()
    rows: list[TrailRow] = []
    later, is_whole, seen = "", True, 0
    for line in _backwards(folder / AUDIT):
        digest = hashlib.sha256(line).hexdigest()
        entry = _entry(line)
        is_whole = is_whole and entry is not None and later in ("", digest)
        later, seen = str(entry.get("previous", "")) if entry else "?", seen + len(line)
        if entry is not None and all(word in line.decode("utf-8", "replace").lower() for word in words):
            rows.append(_row(entry))
        if len(rows) >= most or seen > _LOOK_BYTES:
            break
    return TrailView(is_kept=True, is_whole=is_whole, rows=rows)


def _backwards(folder: Path) -> Iterator[bytes]:
    """Give whole lines with their ends, the last one first; what a writer has not finished is left out."""
    for path in reversed(segments(folder)):
        with path.open("rb") as file:
            at, rest, is_open = file.seek(0, 2), b"", True
            while at:
                begin = max(0, at - _BLOCK)
                file.seek(begin)
                rest, *ended = (file.read(at - begin) + rest).split(b"\n")
                at = begin
                if is_open and ended:
                    ended.pop()  # behind the last end of a line: nothing, or a line being written
                    is_open = False
                yield from (line + b"\n" for line in reversed(ended))
            if rest and not is_open:
                yield rest + b"\n"


def _entry(line: bytes) -> Mapping[str, object] | None:
    try:
        value = strictjson.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("sequence"), int) else None


def _row(entry: Mapping[str, object]) -> TrailRow:
    own = {name: str(entry.get(name, "")) for name in _OWN[1:-1]}
    details = {key: str(value) for key, value in entry.items() if key not in _OWN and value != ""}
    return TrailRow(sequence=int(str(entry["sequence"])), details=details, **own)
