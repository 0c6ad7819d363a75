"""Small locks with the bytes they name, for tests that need a bundle and no sources.

>>> sample = Sample.small()
>>> sample.build(path)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from bundles.archive.reader import read_head
from bundles.archive.writer import BuildReport, build, sign_in_place
from bundles.definition import Location
from bundles.lock import LocalFile, Lock, LockedArtifact, LockedBlob
from bundles.sources.artifact import Layer, inline, made
from bundles.trust.roles import Statement, sign_release
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from registry.progress import Silent
from tests.attacks.publisher import DAY, NOW, Publisher

WEB = "registry.example.org/quickstart/web:1.0.0"
API = "registry.example.org/quickstart/api:2.1.0"
BLOCK = 100_000


def noise(seed: str, size: int) -> bytes:
    """Return bytes that do not repeat, the same for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(size)


@dataclass
class Sample:
    """A lock and what its sources hold; `fetched` counts what was taken from them."""

    lock: Lock
    sources: dict[Digest, bytes]
    fetched: list[Digest] = field(default_factory=list)

    @classmethod
    def of(cls, layers: Mapping[str, bytes], *, version: str = "1.0.0") -> Sample:
        """Return two images (one behind an index with a platform left out) that share `layers`, and one file."""
        sources = {Digest.of(data): data for data in layers.values()}
        blobs = [_blob(name, data, f"{OCI_LAYER}+gzip") for name, data in layers.items()]
        web, api = _image(WEB, blobs, "amd64"), _image(API, blobs[:1], "amd64")
        absent = Descriptor(OCI_MANIFEST, Digest.of(b"arm"), 3, platform={"os": "linux", "architecture": "arm64"})
        here = Descriptor(
            OCI_MANIFEST, api.root.digest, api.root.size, platform={"os": "linux", "architecture": "amd64"}
        )
        index = strictjson.canonical(
            {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [here.as_json(), absent.as_json()]}
        )
        api = api.model_copy(update={"root": inline(index.decode(), OCI_INDEX), "manifests": [api.root]})
        note = made(
            "file",
            "application/vnd.dryport.file.v1",
            f"dryport/file/note:{version}",
            [Layer.text("note.txt", "carried\n", "application/vnd.dryport.file.v1")],
            title="a note",
        )
        lock = Lock(
            product="sample",
            version=version,
            platforms=["linux/amd64"],
            definition=str(Digest.of(b"definition")),
            artifacts=[web, api, note],
        )
        return cls(lock, sources)

    @classmethod
    def small(cls) -> Sample:
        """Return a sample of some 80 kB."""
        return cls.of({"base": noise("base", 50_001), "app": noise("app", 30_000)})

    @classmethod
    def large(cls) -> Sample:
        """Return a sample with members of several chunks, one of them of exactly two."""
        return cls.of({"base": noise("base", (9 << 20) + 17), "app": noise("app", 8 << 20), "tip": noise("tip", 700)})

    def build(self, path: Path) -> BuildReport:
        """Build the unsigned bundle."""
        return build(self.lock, path, self.fetch, Silent())

    def publish(self, path: Path, publisher: Publisher, sequence: int = 1, min_installer: str | None = None) -> None:
        """Build the bundle and have it signed by `publisher`."""
        self.build(path)
        statement = Statement(
            self.lock.product,
            self.lock.version,
            sequence,
            tuple(self.lock.platforms),
            NOW - DAY + timedelta(minutes=sequence),
            NOW + 100 * DAY,
            min_installer,
        )
        with read_head(path) as head:
            index = head.index
        sign_in_place(path, sign_release(index, statement, publisher.roots, publisher.release))

    @contextmanager
    def fetch(self, blob: LockedBlob, start: int = 0) -> Iterator[Iterator[bytes]]:
        """Give a blob's bytes from `start` on, in blocks of an odd size."""
        self.fetched.append(blob.digest)
        data = self.sources[blob.digest][start:]
        yield (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))


def _image(ref: str, layers: list[LockedBlob], architecture: str) -> LockedArtifact:
    config = inline(
        strictjson.canonical(
            {"architecture": architecture, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
        ).decode(),
        OCI_CONFIG,
    )
    manifest = strictjson.canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(config),
            "layers": [_descriptor(layer) for layer in layers],
        }
    )
    return LockedArtifact(kind="image", ref=ref, root=inline(manifest.decode(), OCI_MANIFEST), blobs=[config, *layers])


def _blob(name: str, data: bytes, media_type: str) -> LockedBlob:
    origin = LocalFile(file=Location(path=f"layers/{name}"))
    return LockedBlob(digest=Digest.of(data), size=len(data), media_type=media_type, origin=origin)


def _descriptor(blob: LockedBlob) -> dict[str, object]:
    return Descriptor(blob.media_type, blob.digest, blob.size).as_json()
