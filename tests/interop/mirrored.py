"""Images at a mirror under their original names, and a runtime's configuration for it on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from registry.mirror import declared
from registry.mirror.configure import configuration
from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.files import Access, Login
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_MANIFEST
from registry.oci.reference import Reference
from registry.store.store import Store
from tests.interop.isolated import MIRROR, PASSWORD, USER, Isolated
from tests.oci_samples import descriptor, image

ORIGINS = ("docker.io", "ghcr.io", "git.example.org:5050")
NAMES = ("docker.io/library/x:1", "ghcr.io/team/app:2", "git.example.org:5050/deep/er/app:3")
MAPPING = declared.of((MIRROR,), ORIGINS)


def fill(store: Store, mapping: Mapping = MAPPING, names: Sequence[str] = NAMES) -> list[Reference]:
    """Put an image for each name where the mapping says; the second is behind an index that leaves a platform out."""
    found = []
    for number, name in enumerate(names):
        original = Reference.parse(name)
        repository = mapping.place(original)
        sample = image(f"image {number}\n".encode())
        for digest, data in sample.blobs.items():
            store.put_blob(repository, digest, [data])
        media_type, data = OCI_MANIFEST, sample.manifest
        if number == 1:
            store.put_manifest(repository, data, media_type, [])
            platform = {"platform": {"os": "linux", "architecture": "amd64"}}
            entry = descriptor(data, media_type).as_json() | platform
            media_type = OCI_INDEX
            data = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
        store.put_manifest(repository, data, media_type, [str(original.tag)])
        found.append(replace(original, digest=Digest.of(data)))
    return found


def write(
    site: Isolated, runtime: str, root: Path, mapping: Mapping = MAPPING, *, password: str = PASSWORD, ca: str = ""
) -> None:
    """Write a runtime's configuration for the site below `root`."""
    access = Access(ca or site.ca.read_text(), Login(USER, password))
    for one in configuration(runtime, mapping, access).files:
        path = root / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one.text)
        path.chmod(0o600 if one.is_secret else 0o644)
