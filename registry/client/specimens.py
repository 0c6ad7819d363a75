"""Small content that a registry is tried with: an image, an index, an artifact, Docker's types."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    EMPTY_BYTES,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)

EMPTY = EMPTY_BYTES
ARTIFACT_TYPE = "application/vnd.dryport.probe.v1"
_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_PLATFORM = {"architecture": "amd64", "os": "linux"}


@dataclass(frozen=True, slots=True)
class Specimen:
    """A manifest and the blobs that it names."""

    data: bytes
    media_type: str
    blobs: Sequence[bytes] = ()

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return Digest.of(self.data)

    @property
    def size(self) -> int:
        """The size of the manifest in bytes."""
        return len(self.data)


def image(content: bytes) -> Specimen:
    """Return an OCI image of one layer with one file."""
    return _image(content, OCI_MANIFEST, OCI_CONFIG, f"{OCI_LAYER}+gzip")


def docker_image(content: bytes) -> Specimen:
    """Return the same as Docker writes it (image manifest, version 2, schema 2)."""
    return _image(content, DOCKER_MANIFEST, _DOCKER_CONFIG, _DOCKER_LAYER)


def index(children: Sequence[Specimen]) -> Specimen:
    """Return an OCI index of images."""
    return _index(children, OCI_INDEX)


def docker_list(children: Sequence[Specimen]) -> Specimen:
    """Return a Docker manifest list of images."""
    return _index(children, DOCKER_LIST)


def artifact(layers: Sequence[bytes], subject: Descriptor | None = None) -> Specimen:
    """Return an OCI artifact, which may refer to a subject."""
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": _descriptor(EMPTY, OCI_EMPTY),
        "layers": [_descriptor(layer, "application/octet-stream") for layer in layers],
    }
    if subject:
        value["subject"] = subject.as_json()
    return Specimen(_pretty(value), OCI_MANIFEST, layers)


def _image(content: bytes, media_type: str, config_type: str, layer_type: str) -> Specimen:
    archive = io.BytesIO()
    with tarfile.TarFile(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("probe")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    layer = gzip.compress(archive.getvalue(), mtime=0)
    history = [{"created": "1970-01-01T00:00:00Z", "created_by": "dryport"}]  # Artifactory wants one (jib #534)
    diff = f"sha256:{hashlib.sha256(archive.getvalue()).hexdigest()}"
    config = json.dumps(
        {**_PLATFORM, "config": {}, "history": history, "rootfs": {"type": "layers", "diff_ids": [diff]}}
    ).encode()
    value = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _descriptor(config, config_type),
        "layers": [_descriptor(layer, layer_type)],
    }
    return Specimen(_pretty(value), media_type, (config, layer))


def _index(children: Sequence[Specimen], media_type: str) -> Specimen:
    listed = [
        {**_descriptor(child.data, child.media_type), "platform": {**_PLATFORM, "variant": f"v{number}"}}
        for number, child in enumerate(children, start=1)
    ]
    return Specimen(_pretty({"schemaVersion": 2, "mediaType": media_type, "manifests": listed}), media_type)


def _descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


def _pretty(value: object) -> bytes:
    """Return bytes that nobody would write who reads and writes JSON anew: so it shows whether they are kept."""
    return json.dumps(value, indent=3).encode() + b"\n \n"
