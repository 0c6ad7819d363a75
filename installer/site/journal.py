"""The journal: an append-only record of what was begun and what came of it, each entry chained to the one before.

* An entry is on the disk before the act that it announces, and before anybody is told of what it reports.
* Every line holds the sha256 of the line before it: a line changed, removed or swapped is found.
* Only the last line can be torn, by a crash or a full disk while it was written; it announced nothing yet. Readers pass
  over it, and the next writer cuts it off: to a reader a line that is just being written looks the same.

>>> journal = Journal.open(path)
>>> journal.append("step-begin", plan=plan.digest, step="001-python-install-node1")
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from registry.errors import SiteError
from registry.oci import strictjson
from registry.store import durable

BEGINNING = "0" * 64
JOURNAL_BYTES = 256 << 20
Detail = str | int | bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    number: int
    at: str
    event: str
    plan: str = ""
    step: str = ""
    details: Mapping[str, Detail] = field(default_factory=dict)


class Journal:
    """An open journal. One process at a time writes (the home's lock sees to it)."""

    def __init__(self, path: Path, entries: Sequence[Entry], head: str, size: int, *, is_torn: bool) -> None:
        self.path = path
        self.head = head
        self._entries = list(entries)
        self._size = size
        """Bytes of whole lines."""
        self._is_torn = is_torn

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Return the journal in a file, proven from its first line to its last. Raises SiteError."""
        data = path.read_bytes() if path.exists() else b""
        whole, end, torn = data.rpartition(b"\n")
        head, entries = BEGINNING, []
        for number, line in enumerate(whole.split(b"\n") if end else [], start=1):
            try:
                entries.append(_decode(line, number, head))
            except (ValueError, TypeError, KeyError) as error:
                raise SiteError(
                    "journal-damaged",
                    f"the journal is not what was written: {error}",
                    where=f"{path} line {number}",
                    hint="restore the journal from a backup of the home; nothing is applied without it",
                ) from error
            head = hashlib.sha256(line).hexdigest()
        return cls(path, entries, head, len(whole + end), is_torn=bool(torn))

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries, oldest first."""
        return tuple(self._entries)

    def append(self, event: str, *, plan: str = "", step: str = "", **details: Detail) -> Entry:
        """Record an event; when this returns it survives a power cut."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = Entry(len(self._entries) + 1, now, event, plan, step, details)
        line = strictjson.canonical(
            {
                "number": entry.number,
                "at": entry.at,
                "previous": self.head,
                "event": event,
                "plan": plan,
                "step": step,
                "details": details,
            }
        )
        if self._is_torn:
            durable.cut(self.path, self._size)
        self._is_torn = True  # until all of the line is on the disk
        durable.append(self.path, line)
        self._is_torn, self._size = False, self._size + len(line)
        self.head = hashlib.sha256(line.removesuffix(b"\n")).hexdigest()
        self._entries.append(entry)
        return entry

    def done_steps(self, plan: str) -> frozenset[str]:
        """Return the steps of an unfinished run of a plan that ended well; none if its last run was finished."""
        done: set[str] = set()
        for entry in self._entries:
            if entry.plan != plan:
                continue
            if entry.event == "apply-end":
                done.clear()
            elif entry.event == "step-begin":
                done.discard(entry.step)  # begun again: what it left is unknown until it ends
            elif entry.event == "step-end" and entry.details.get("ok") is True:
                done.add(entry.step)
        return frozenset(done)


def _decode(line: bytes, number: int, head: str) -> Entry:
    value = strictjson.loads(line)
    if value["number"] != number:
        raise ValueError(f"entry {value['number']} stands where {number} should be")
    if value["previous"] != head:
        raise ValueError("it does not follow from the line before it")
    details = value["details"]
    if not isinstance(details, dict) or strictjson.canonical(value).rstrip(b"\n") != line:
        raise ValueError("its encoding is not ours")
    return Entry(number, value["at"], value["event"], value["plan"], value["step"], details)
