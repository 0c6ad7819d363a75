"""Small OCI content for tests: an image as an OCI layout on disk, and single blobs and manifests."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, REF_NAME


@dataclass(frozen=True)
class Image:
    """An image of one layer."""

    layer: bytes
    config: bytes

    @property
    def blobs(self) -> dict[Digest, bytes]:
        return {Digest.of(data): data for data in (self.config, self.layer)}

    @property
    def manifest(self) -> bytes:
        return strictjson.canonical(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": descriptor(self.config, OCI_CONFIG).as_json(),
                "layers": [descriptor(self.layer, f"{OCI_LAYER}+gzip").as_json()],
            }
        )

    def write_layout(self, folder: Path, tag: str) -> Path:
        """Write the image as an OCI layout, as skopeo and podman read it."""
        place = folder / "blobs/sha256"
        place.mkdir(parents=True)
        for data in (self.layer, self.config, self.manifest):
            (place / Digest.of(data).hex).write_bytes(data)
        entry = descriptor(self.manifest, OCI_MANIFEST).as_json() | {"annotations": {REF_NAME: tag}}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        (folder / "index.json").write_text(json.dumps(index))
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        return folder


def image(content: bytes = b"hello from a layer\n", name: str = "hello.txt") -> Image:
    """Return an image with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    tarball = buffer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": [f"/{name}"]},
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(tarball))]},
    }
    return Image(gzip.compress(tarball, mtime=0), strictjson.canonical(config))


def descriptor(data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
    """Return the descriptor of some bytes."""
    return Descriptor(media_type, Digest.of(data), len(data))
