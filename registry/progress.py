"""How long work tells of itself, without knowing who listens."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, Self


class Meter(Protocol):
    """One piece of long work, measured in bytes (or in steps)."""

    def advance(self, amount: int, item: str = "") -> None:
        """Tell that `amount` more is done, now at `item`. May be called from several threads."""
        ...


class Progress(Protocol):
    """Gives a meter for each piece of long work."""

    def meter(self, label: str, total: int, unit: str = "B") -> AbstractContextManager[Meter]:
        """Begin a piece of work of `total` bytes, or of another unit."""
        ...


class Silent:
    """Progress that nobody watches."""

    def meter(self, label: str, total: int, unit: str = "B") -> Silent:  # noqa: ARG002
        """Return itself."""
        return self

    def advance(self, amount: int, item: str = "") -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
