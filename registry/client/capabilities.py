"""What a registry can do, as `probe` found it: a value that a journal keeps, a person reads, and the mirror obeys.

Nothing in it names a vendor. What could not be found out is None, and the mirror then goes the careful way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from registry.client.upload_state import Habits

NAMES: Final = {
    "writable": "takes an upload at all",
    "login": "how it asks who is there: none, basic or bearer",
    "token-by-post": "gives tokens by POST (OAuth2); else by GET",
    "creates-repositories": "makes a repository when something is pushed to it",
    "nested-names": "takes repository names of five and more levels",
    "monolithic": "takes a blob in one PUT",
    "single-post": "takes a blob in one POST",
    "chunked": "takes a blob in chunks",
    "least-chunk": "the smallest chunk it was seen to take, in bytes",
    "upload-status": "how it tells what arrived of an upload: exact, behind or none",
    "keeps-broken-upload": "keeps what arrived of a request that broke off, and tells of it",
    "cancels-uploads": "forgets an upload when told to",
    "mount": "shows a blob of another repository without an upload",
    "anonymous-mount": "finds the other repository by itself",
    "ranges": "gives a part of a blob",
    "sha512": "takes content named by sha512, and names it so",
    "keeps-bytes": "keeps a manifest's bytes as they were sent",
    "states-digests": "says which digest it gave a manifest",
    "tag-parameter": "takes tags together with a manifest's digest",
    "oci-images": "takes OCI images",
    "oci-artifacts": "takes OCI artifacts that are no images",
    "repeated-layers": "takes artifacts in which a layer occurs twice",
    "indexes": "takes OCI indexes",
    "sparse-indexes": "takes an index of which platforms are left out",
    "docker-types": "takes Docker's manifests and manifest lists",
    "referrers": "lists by itself what refers to a manifest",
    "tag-pages": "gives lists of tags in pages",
    "deletes-tags": "deletes a tag and keeps what it named",
    "deletes-manifests": "deletes manifests",
    "deletes-blobs": "deletes blobs",
    "cleaned-up": "let the probe take away all that it had left",
}
Value = bool | int | str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One capability: what it is, and what was asked and answered."""

    value: Value
    evidence: str


UNKNOWN: Final = Finding(None, "not asked")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """All findings about one registry, by the names in `NAMES`."""

    registry: str
    repository: str
    """Where the probe tried it."""
    date: str
    """When, in UTC (RFC 3339)."""
    findings: Mapping[str, Finding] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return what `as_json` gave; names of a later dryport are left out. Raises ValueError."""
        try:
            found = {
                name: Finding(one["value"], str(one["evidence"]))
                for name, one in value["capabilities"].items()
                if name in NAMES and isinstance(one["value"], Value)
            }
            return cls(str(value["registry"]), str(value["repository"]), str(value["date"]), found)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not what a probe found") from error

    def as_json(self) -> dict[str, Any]:
        """Return the findings as a JSON value."""
        found = {name: {"value": one.value, "evidence": one.evidence} for name, one in self.findings.items()}
        return {"registry": self.registry, "repository": self.repository, "date": self.date, "capabilities": found}

    def finding(self, name: str) -> Finding:
        """Return the finding of this name."""
        if name not in NAMES:
            raise KeyError(name)
        return self.findings.get(name, UNKNOWN)

    def can(self, name: str) -> bool | None:
        """Say whether the registry can do this; None if it is not known."""
        value = self.finding(name).value
        return value if isinstance(value, bool) else None

    def habits(self) -> Habits:
        """Return how blobs are to be uploaded."""
        habits = Habits(self.can("monolithic"), self.can("chunked"), self.can("keeps-broken-upload"))
        least = self.finding("least-chunk").value
        if type(least) is int:
            habits.chunk = max(habits.chunk, least)
        return habits
