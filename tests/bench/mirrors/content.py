"""What is carried: 8 images that share a layer of 60 MB: 380 MB, or 800 MB for whoever sends every image whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.mirror.layout import LAYOUT, LAYOUT_DATA, REPOSITORY
from registry.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, REF_NAME

MB = 1_000_000
SHARED = 60 * MB
OWN = (25 * MB, 10 * MB, 5 * MB)
BASE = "bench"
TAG = "1.0"


@dataclass(frozen=True)
class Images:
    """Images in an OCI layout, each in a repository of its own."""

    layout: Path
    digests: Mapping[str, str]
    """Of the manifests, by repository."""
    size: int
    """Unique bytes of blobs."""


def write(layout: Path, images: int = 8, shared: int = SHARED, own: Sequence[int] = OWN) -> Images:
    """Write images whose layers are random bytes; all have the shared one."""
    begun = _Layout(layout)
    common = begun.noise(shared)
    for number in range(images):
        begun.image(f"{BASE}/app{number}", [common, *(begun.noise(size) for size in own)])
    return begun.finish()


def write_sparse(layout: Path, size: int) -> Images:
    """Write one image whose only layer is a hole: it takes no disk, and as long as any other to read and to send."""
    begun = _Layout(layout)
    begun.image(f"{BASE}/sparse", [begun.hole(size)])
    return begun.finish()


class _Layout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs/sha256"
        self._blobs.mkdir(parents=True)
        self._sizes: dict[str, int] = {}
        self._entries: list[dict[str, Any]] = []

    def noise(self, size: int) -> dict[str, Any]:
        data = os.urandom(size)
        return self._blob(data, f"{OCI_LAYER}+gzip")

    def hole(self, size: int) -> dict[str, Any]:
        hasher, block = hashlib.sha256(), memoryview(bytes(1 << 20))
        for offset in range(0, size, len(block)):
            hasher.update(block[: size - offset])
        with (self._blobs / hasher.hexdigest()).open("wb") as file:
            file.truncate(size)
        self._sizes[hasher.hexdigest()] = size
        return {"mediaType": f"{OCI_LAYER}+gzip", "digest": f"sha256:{hasher.hexdigest()}", "size": size}

    def image(self, repository: str, layers: Sequence[Mapping[str, Any]]) -> None:
        config = {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Labels": {"name": repository}},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
            "history": [{"created_by": "bench"} for _ in layers],
        }
        stated = self._blob(json.dumps(config).encode(), OCI_CONFIG)
        value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": stated, "layers": layers}
        entry = self._blob(json.dumps(value).encode(), OCI_MANIFEST, is_counted=False)
        self._entries.append({**entry, "annotations": {REF_NAME: f"{repository}:{TAG}", REPOSITORY: repository}})

    def finish(self) -> Images:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self._entries}
        (self.folder / LAYOUT).write_bytes(LAYOUT_DATA)
        (self.folder / "index.json").write_text(json.dumps(index))
        digests = {entry["annotations"][REPOSITORY]: entry["digest"] for entry in self._entries}
        return Images(self.folder, digests, sum(self._sizes.values()))

    def _blob(self, data: bytes, media_type: str, *, is_counted: bool = True) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self._blobs / digest).write_bytes(data)
        if is_counted:
            self._sizes[digest] = len(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}
