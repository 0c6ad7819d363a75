"""What a copy did, in counts and bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Present means: the store held it already, whole. Linked: it came once, and is shown in several repositories."""

    repositories: int = 0
    tags: int = 0
    manifests_copied: int = 0
    manifests_present: int = 0
    blobs_copied: int = 0
    blobs_linked: int = 0
    blobs_present: int = 0
    bytes_copied: int = 0
    bytes_present: int = 0
    absent: int = 0
    """Manifests that the source leaves out on purpose."""

    def as_json(self) -> dict[str, int]:
        """Return the report as documented for `--json`."""
        return asdict(self)
