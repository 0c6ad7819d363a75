"""Descriptors: what a content is, its digest and its exact size (OCI image-spec 1.1, "Content Descriptors")."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.oci.digest import Digest

MOST_BYTES = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A typed, sized, digested pointer to content; `platform` is `os/arch[/variant]`."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str | None = None
    platform: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MOST_BYTES or not self.media_type:
            raise ValueError(f"descriptor of {self.digest} without media type or with an impossible size")

    @classmethod
    def from_json(cls, value: object) -> Descriptor:
        """Return the descriptor in parsed JSON; data in it is checked, other fields are ignored. Raises ValueError."""
        if not isinstance(value, dict):
            raise ValueError("descriptor is not an object")
        media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
        if not isinstance(media_type, str) or not isinstance(digest, str) or type(size) is not int:
            raise ValueError("descriptor needs mediaType, digest and size")
        annotations = value.get("annotations") or {}
        artifact_type, platform = value.get("artifactType"), value.get("platform")
        if not isinstance(annotations, dict) or not all(isinstance(v, str) for v in annotations.values()):
            raise ValueError("descriptor annotations are not strings")
        if not isinstance(artifact_type, str | None) or not isinstance(platform, dict | None):
            raise ValueError("descriptor artifactType or platform of a wrong type")
        named = cls(media_type, Digest.parse(digest), size, annotations, artifact_type, platform)
        if value.get("data") is not None:
            _check_embedded(named, value["data"])
        return named

    @property
    def is_foreign(self) -> bool:
        """Whether its maker alone may distribute it: named by manifests, and not required to be here."""
        return "nondistributable" in self.media_type or ".foreign." in self.media_type

    def as_json(self) -> dict[str, Any]:
        """Return the descriptor as JSON value; empty parts are left out."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.platform:
            value["platform"] = dict(self.platform)
        return value


def _check_embedded(named: Descriptor, data: object) -> None:
    """Raise ValueError unless the bytes in a descriptor are those that it names: a client may use them unasked."""
    if not isinstance(data, str):
        raise ValueError(f"data of {named.digest} is not text")
    content = base64.b64decode(data, validate=True)
    if len(content) != named.size or not named.digest.matches(content):
        raise ValueError(f"data of {named.digest} is something else")
