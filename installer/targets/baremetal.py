"""The `baremetal` target: existing Linux hosts, exactly those that `site.yaml` lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from installer.site.config import Declared
from installer.targets.base import Host


@dataclass(frozen=True, slots=True)
class BareMetal:
    """Implements `installer.targets.base.Target`."""

    declared: Declared

    def hosts(self) -> Sequence[Host]:
        """Return the listed hosts."""
        return tuple(
            Host(entry.name, entry.address, entry.port, entry.user, self.declared.key_path(entry))
            for entry in self.declared.site.hosts
        )
