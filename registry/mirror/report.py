"""What a copy did, in counts and bytes."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Present means: the target held it already, whole. Linked: it came once, and is shown in several repositories."""

    repositories: int = 0
    tags: int = 0
    tags_set: int = 0
    manifests_copied: int = 0
    manifests_present: int = 0
    blobs_copied: int = 0
    blobs_linked: int = 0
    blobs_present: int = 0
    bytes_copied: int = 0
    bytes_shared: int = 0
    """Bytes that needed no copy: they lie on disk that the source has too."""
    bytes_present: int = 0
    absent: int = 0
    """Manifests that the source leaves out on purpose."""
    left_out: int = 0
    """Manifests of platforms that were not asked for."""

    @property
    def copied(self) -> int:
        """How many things the target did not have before: 0 means that nothing changed."""
        return self.tags_set + self.manifests_copied + self.blobs_copied + self.blobs_linked

    def as_json(self) -> dict[str, int]:
        """Return the report as documented for `--json`."""
        return {"copied": self.copied, **asdict(self)}


@dataclass
class Tally:
    """What the report will say. Safe for several threads."""

    counts: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, amount: int = 1) -> None:
        """Count."""
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + amount

    def report(self) -> CopyReport:
        """Return the counts as report."""
        with self.lock:
            return CopyReport(**self.counts)
