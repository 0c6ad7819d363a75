"""Content to mirror: images that share layers, indexes with a platform left out, referrers of referrers, cosign tags.

>>> fill(store, count=60)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from registry.content import ContentSource
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Manifest,
)
from registry.store.store import Store
from tests.oci_samples import descriptor

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
SIGNATURE = "application/vnd.example.signature"


def noise(seed: str, size: int) -> bytes:
    """Return bytes that are the same for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(size)


def fill(store: Store, count: int = 60, size: int = 30_000) -> Store:
    """Put `count` images into repositories of eight; every third lies behind an index, every fourth is signed."""
    for number in range(count):
        repository = f"team/app{number % 8}"
        tag = f"1.{number}"
        shared = [noise(f"shared {number % 5}", size * 3), noise(f"shared {number % 3}", size)]
        layers = [*shared, noise(f"own {number}", size)]
        if number % 3:
            kind = (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER) if number % 5 == 1 else None
            digest = image(store, repository, f"{number}", layers, [tag], kind=kind)
        else:
            digest = index(store, repository, number, layers, tag)
        if number % 4 == 0:
            signature = refer(store, repository, digest, f"signature {number}")
            refer(store, repository, signature, f"on signature {number}")
        if number % 7 == 0:
            companion = f"sha256-{digest.hex}.sig"
            image(store, repository, f"cosign {number}", [noise(f"cosign {number}", 200)], [companion])
    return store


def image(
    store: Store,
    repository: str,
    name: str,
    layers: Iterable[bytes],
    tags: list[str],
    *,
    architecture: str = "amd64",
    kind: tuple[str, str, str] | None = None,
) -> Digest:
    manifest_type, config_type, layer_type = kind or (OCI_MANIFEST, OCI_CONFIG, f"{OCI_LAYER}+gzip")
    config = strictjson.canonical({"os": "linux", "architecture": architecture, "name": name})
    listed = list(layers)
    for data in (config, *listed):
        store.put_blob(repository, Digest.of(data), [data])
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": descriptor(config, config_type).as_json(),
        "layers": [descriptor(data, layer_type).as_json() for data in listed],
    }
    return store.put_manifest(repository, strictjson.canonical(value), manifest_type, tags)


def index(store: Store, repository: str, number: int, layers: list[bytes], tag: str) -> Digest:
    is_docker = number % 2 == 1
    kind = (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER) if is_docker else None
    children = []
    for architecture in ("amd64", "arm64"):
        own = [*layers, noise(f"{architecture} {number}", 5000)]
        digest = image(store, repository, f"{number}", own, [], architecture=architecture, kind=kind)
        children.append(_child(store, repository, digest, {"os": "linux", "architecture": architecture}))
    value = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST if is_docker else OCI_INDEX,
        "manifests": children,
    }
    return store.put_manifest(repository, strictjson.canonical(value), str(value["mediaType"]), [tag])


def refer(store: Store, repository: str, subject: Digest, text: str) -> Digest:
    """Put an artifact that refers to a manifest, without a tag."""
    empty, layer = b"{}", text.encode()
    for data in (empty, layer):
        store.put_blob(repository, Digest.of(data), [data])
    found = store.manifest(repository, subject)
    if found is None:
        raise AssertionError(subject)
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": SIGNATURE,
        "config": descriptor(empty, OCI_EMPTY).as_json(),
        "layers": [descriptor(layer, "text/plain").as_json()],
        "subject": Descriptor(found[1], subject, len(found[0])).as_json(),
    }
    return store.put_manifest(repository, strictjson.canonical(value), OCI_MANIFEST, [])


def _child(store: Store, repository: str, digest: Digest, platform: Mapping[str, str]) -> dict[str, Any]:
    data, media_type = store.manifest(repository, digest) or (b"", "")
    return Descriptor(media_type, digest, len(data), platform=platform).as_json()


def seen(source: ContentSource, repositories: Mapping[str, str]) -> dict[str, Any]:
    """Return all that a source shows: tags, manifests' bytes, referrers and blobs' digests; names as in the values."""
    found: dict[str, Any] = {}
    for there, name in repositories.items():
        tags = {}
        waiting: list[Digest] = []
        for tag in source.tags(there):
            if not _is_fallback(tag):
                named = source.resolve(there, tag)
                assert named, (there, tag)
                tags[tag] = str(named.digest)
                waiting.append(named.digest)
        manifests: dict[str, Any] = {}
        while waiting:
            digest = waiting.pop()
            if str(digest) in manifests:
                continue
            content = source.manifest(there, digest)
            assert content, (there, digest)
            manifest = Manifest.parse(*content)
            referrers = sorted(str(one.digest) for one in source.referrers(there, digest))
            for blob in manifest.blobs:
                body = source.blob(there, blob.digest)
                assert body, (there, blob.digest)
                assert blob.digest.matches(body.read(0, blob.size))
                body.close()
            manifests[str(digest)] = (content[1], Digest.of(content[0]).hex, referrers)
            waiting += [child.digest for child in manifest.children]
            waiting += [Digest.parse(one) for one in referrers]
        found[name] = (tags, manifests)
    return found


def _is_fallback(tag: str) -> bool:
    """Say whether a tag only stands in for the list of referrers that a registry lacks."""
    return tag.startswith("sha256-") and len(tag) == len("sha256-") + 64
