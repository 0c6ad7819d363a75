"""Manifests and indexes, read for what they point at; their bytes are never rewritten.

Sources: OCI image-spec 1.1 ("Image Manifest", "Image Index"), Docker image manifest v2 schema 2.
A body that could be read as both kinds is refused (CVE-2021-41190).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
REF_NAME = "org.opencontainers.image.ref.name"
TITLE = "org.opencontainers.image.title"
EMPTY_BYTES = b"{}"
MAX_DESCRIPTORS = 100_000


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index: its bytes, and what they name."""

    data: bytes
    media_type: str
    blobs: Sequence[Descriptor] = ()
    """Config and layers, in order; empty for an index."""
    children: Sequence[Descriptor] = ()
    """Manifests of an index, in order; empty otherwise."""
    subject: Descriptor | None = None
    artifact_type: str | None = None
    """The stated artifactType, else the config's media type; None for an index that states none."""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes, media_type: str) -> Manifest:
        """Return the manifest in `data`, which was declared as `media_type`. Raises ValueError."""
        value = strictjson.loads(data, limit=2 * strictjson.METADATA_BYTES)
        if not isinstance(value, dict):
            raise ValueError("manifest is not an object")
        stated = value.get("mediaType", media_type)
        if stated != media_type:
            raise ValueError(f"manifest says it is {stated!r} but was declared {media_type!r}")
        if value.get("schemaVersion") != 2:  # noqa: PLR2004
            raise ValueError("manifest is not of schema version 2")
        if ("manifests" in value) and ("layers" in value or "config" in value):
            raise ValueError("body can be read as manifest and as index")
        annotations = value.get("annotations") or {}
        if not isinstance(annotations, dict) or not all(isinstance(text, str) for text in annotations.values()):
            raise ValueError("annotations are not an object of strings")
        stated_type = value.get("artifactType") or None
        if not isinstance(stated_type, str | None):
            raise ValueError("artifactType is not a string")
        subject = Descriptor.from_json(value["subject"]) if value.get("subject") else None
        if media_type in INDEXES or "manifests" in value:
            children = _descriptors(value.get("manifests"))
            return cls(data, media_type, (), children, subject, stated_type, annotations)
        config = [Descriptor.from_json(value["config"])] if value.get("config") else []
        blobs = (*config, *_descriptors(value.get("layers")))
        artifact_type = stated_type or (config[0].media_type if config else None)
        return cls(data, media_type, blobs, (), subject, artifact_type, annotations)

    @property
    def digest(self) -> Digest:
        """The sha256 digest of the bytes."""
        return Digest.of(self.data)

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor by which an index or a referrers list names this manifest."""
        return Descriptor(self.media_type, self.digest, len(self.data), self.annotations, self.artifact_type)


def artifact(
    artifact_type: str,
    layers: Sequence[Descriptor],
    annotations: Mapping[str, str] | None = None,
    config: Descriptor | None = None,
) -> bytes:
    """Return the canonical bytes of an OCI manifest for something that is not an image."""
    empty = Descriptor(OCI_EMPTY, Digest.of(EMPTY_BYTES), len(EMPTY_BYTES))
    return strictjson.canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": (config or empty).as_json(),
            "layers": [layer.as_json() for layer in layers],
            **({"annotations": dict(annotations)} if annotations else {}),
        }
    )


def _descriptors(value: object) -> tuple[Descriptor, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_DESCRIPTORS:
        raise ValueError(f"list of descriptors expected, at most {MAX_DESCRIPTORS}")
    return tuple(Descriptor.from_json(item) for item in value)
