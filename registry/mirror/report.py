"""What a copy did, in counts and bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Present means: the store held it already, whole. Linked: it came once, and is shown in several repositories."""

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
    """Came without being copied: they lie on disk that the source has too."""
    bytes_present: int = 0
    absent: int = 0
    """Manifests that the source leaves out on purpose."""

    @property
    def copied(self) -> int:
        """How many things the store did not have before: 0 means that nothing changed."""
        return self.tags_set + self.manifests_copied + self.blobs_copied + self.blobs_linked

    def as_json(self) -> dict[str, int]:
        """Return the report as documented for `--json`."""
        return {"copied": self.copied, **asdict(self)}
