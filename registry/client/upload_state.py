"""What an upload is told, and what it leaves behind: its state for a journal, a registry's habits, what it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

CHUNK = 32 << 20


@dataclass(frozen=True, slots=True)
class Resumable:
    """An upload under way, as a journal keeps it: where its session lies, and how much of it was sent at least."""

    location: str
    offset: int

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the state that `as_json` gave. Raises ValueError."""
        location, offset = value.get("location"), value.get("offset")
        if not isinstance(location, str) or type(offset) is not int or offset < 0:
            raise ValueError("not the state of an upload")
        return cls(location, offset)

    def as_json(self) -> dict[str, Any]:
        """Return the state as a JSON value."""
        return {"location": self.location, "offset": self.offset}


OnProgress = Callable[[int, Resumable], None]
"""Told how many bytes more than ever before are on their way (0 for a session that begins), and the state to keep."""


@dataclass
class Habits:
    """How a registry takes uploads; None is not known yet. What one upload learns, the next need not."""

    monolithic: bool | None = None
    chunked: bool | None = None
    keeps_broken: bool | None = None
    """Whether what arrived of a broken request is kept, and told of."""
    chunk: int = CHUNK

    def prefers_whole(self, size: int) -> bool:
        """Say whether a blob of this size goes in one request, given that nothing of it is there."""
        if self.monolithic is False:
            return False
        return size <= self.chunk or self.chunked is False or self.keeps_broken is not False


@dataclass(frozen=True, slots=True)
class Sent:
    """What an upload took."""

    bytes_sent: int
    """More than the blob's size where something had to be sent again."""
    sessions: int
    interruptions: int
    is_proven: bool
    """Whether every byte was checked on this side; else only the registry checked the whole."""
