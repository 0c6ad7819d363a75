"""What a copy would do, before it does it: what is missing at the target, and what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from registry.mirror.graph import Graph
from registry.mirror.report import Tally
from registry.oci.descriptor import Descriptor


@dataclass
class Blob:
    """A blob that is to move once: the source's repositories that name it, and the target's that are to show it."""

    descriptor: Descriptor
    source: str
    repositories: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What a copy would do, frozen: what is missing at the target, and what is there."""

    graphs: Sequence[Graph]
    missing: Sequence[Blob]
    """Largest first."""
    tally: Tally

    @property
    def bytes_missing(self) -> int:
        """How many bytes have to move, each digest once."""
        return sum(blob.descriptor.size for blob in self.missing)
