"""What every target hands on: hosts. From there one set of playbooks serves all targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Host:
    """A Linux machine that SSH reaches."""

    name: str
    address: str
    port: int
    user: str
    key: Path
    """SSH private key; ssh reads it, dryport never does."""

    @property
    def place(self) -> str:
        """How known_hosts spells the host: `address`, or `[address]:port` where the port is not 22."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"  # noqa: PLR2004

    def __str__(self) -> str:
        return f"{self.name} ({self.place})"


class Target(Protocol):
    """Where hosts come from."""

    def hosts(self) -> Sequence[Host]:
        """Return the site's hosts in the declared order."""
        ...
