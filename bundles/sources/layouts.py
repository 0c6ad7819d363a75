"""OCI image layouts: in a folder, or in a plain tar, which is read where it lies and never unpacked.

What `skopeo copy ... oci-archive:`, `podman save --format oci-archive` and newer `docker save` write are such tars. The
lock says `layout` for both, so an image locked from a folder can be built from a tar.

>>> layout = Layout.of(inputs, Location(input="images"))
>>> layout.root(Reference.parse("registry.example.org/web:1.0")).digest
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bundles.definition import Location
from bundles.lock import LayoutBlob, LockedBlob
from bundles.sources.inputs import Inputs, spelled
from registry.errors import DefinitionError
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, REF_NAME, Manifest
from registry.oci.platform import spelled as spelled_platform
from registry.oci.reference import Reference

CONTAINERD_NAME = "io.containerd.image.name"
"""Where docker and containerd write the full reference; their ref.name is the tag alone."""
MEMBERS = 100_000
BLOCK_BYTES = 1 << 20
_DOCKER = "manifest.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of one file of a layout lie."""

    path: Path
    offset: int
    size: int

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes from `start` on. Raises OSError."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset + start)
            left = self.size - start
            while left > 0 and (block := stream.read(min(BLOCK_BYTES, left))):
                left -= len(block)
                yield block


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI image layout at `folder`, a folder or a tar; `location` is how the lock names it."""

    folder: Path
    location: Location
    members: Mapping[str, Place] | None = None
    """The files of a tar."""

    @classmethod
    def of(cls, inputs: Inputs, location: Location) -> Layout:
        """Return the layout at a location. Raises DefinitionError."""
        path = inputs.path(location)
        if not path.is_file():
            return cls(inputs.directory(location), location)
        try:
            now = path.stat()
            return cls(path, location, _members(path, now.st_size, now.st_mtime_ns))
        except (OSError, ValueError, tarfile.TarError, EOFError) as error:
            raise DefinitionError(
                "layout-invalid",
                f"no OCI layout in a plain tar: {error}",
                where=f"layout {spelled(location)} ({path})",
                hint="gunzip it if it is compressed; one of an older docker save becomes one by "
                "skopeo copy docker-archive:FILE oci-archive:OUT:HOST/PATH:TAG",
            ) from error

    def root(self, reference: Reference) -> Descriptor:
        """Return the descriptor of the image whose ref.name is the full `reference`. Raises DefinitionError."""
        index = self.index()
        named = {
            child.annotations[key]: child
            for key in (CONTAINERD_NAME, REF_NAME)
            for child in index.children
            if key in child.annotations
        }
        for name, child in named.items():
            if _same(name, reference):
                return child
        raise DefinitionError(
            "image-missing",
            f"{reference} is not in the layout {spelled(self.location)}",
            where=str(self.folder),
            expected=f"an image with the annotation {REF_NAME}={reference}",
            seen=", ".join(sorted(named)) or "no named image",
            hint="put the image into the layout under its full reference, or mend the definition",
        )

    def index(self) -> Manifest:
        """Return the layout's index. Raises DefinitionError."""
        place = self._place("index.json")
        if place is None or place.size > 2 * strictjson.METADATA_BYTES:
            raise self.fault(
                "layout-invalid", f"not an OCI layout: index.json {'is large' if place else 'is not there'}"
            )
        try:
            return Manifest.parse(b"".join(place.blocks()), OCI_INDEX)
        except (OSError, ValueError) as error:
            raise self.fault("layout-invalid", f"not an OCI layout: {error}") from error

    def place(self, digest: Digest) -> Place | None:
        """Return where a blob lies, or None."""
        return self._place(f"blobs/{digest.algorithm}/{digest.hex}")

    def holds(self, digest: Digest) -> bool:
        """Tell whether a blob is there."""
        return self.place(digest) is not None

    def locked(self, descriptor: Descriptor) -> LockedBlob:
        """Return the blob for the lock; raises DefinitionError if it is absent or of another size."""
        place = self.place(descriptor.digest)
        size = place.size if place else None
        if size != descriptor.size:
            raise DefinitionError(
                "layout-damaged",
                f"the layout {spelled(self.location)} does not hold {descriptor.digest} as it says",
                where=f"{self.folder}: blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}",
                expected=f"{descriptor.size} bytes",
                seen="no such file" if size is None else f"{size} bytes",
                hint="make the layout again",
            )
        return LockedBlob(
            digest=descriptor.digest,
            size=descriptor.size,
            media_type=descriptor.media_type,
            origin=LayoutBlob(layout=self.location),
        )

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the bytes of a manifest or config, proven by its digest. Raises DefinitionError."""
        if descriptor.size > 2 * strictjson.METADATA_BYTES:
            raise self.fault("layout-invalid", f"{descriptor.digest} is too large for metadata")
        self.locked(descriptor)
        place = self.place(descriptor.digest)
        data = b"".join(place.blocks()) if place else b""
        if not descriptor.digest.matches(data):
            raise self.fault("layout-damaged", f"{descriptor.digest} has other bytes than its name says")
        return data

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest or index of the layout. Raises DefinitionError."""
        try:
            return Manifest.parse(self.read(descriptor), descriptor.media_type)
        except ValueError as error:
            raise self.fault("layout-invalid", f"{descriptor.digest}: {error}") from error

    def platform(self, manifest: Manifest) -> str:
        """Return the platform that an image's config states, empty if it states none."""
        try:
            return spelled_platform(strictjson.loads(self.read(manifest.blobs[0])))
        except (ValueError, IndexError, AttributeError) as error:
            raise self.fault("layout-invalid", f"config of {manifest.digest}: {error}") from error

    def fault(self, reference: str, message: str) -> DefinitionError:
        """Return an error about this layout."""
        return DefinitionError(
            reference, message, where=f"layout {spelled(self.location)} ({self.folder})", hint="make the layout again"
        )

    def _place(self, name: str) -> Place | None:
        if self.members is not None:
            return self.members.get(name)
        path = self.folder / name
        return Place(path, 0, path.stat().st_size) if path.is_file() else None


@lru_cache(maxsize=4)
def _members(path: Path, size: int, modified: int) -> Mapping[str, Place]:
    """Return where the files of a tar lie; `size` and `modified` (ns) tell one state of it from the next."""
    del size, modified
    found: dict[str, Place] = {}
    with tarfile.open(path, "r:") as tar:
        for number, info in enumerate(tar):
            if number >= MEMBERS:
                raise ValueError(f"more than {MEMBERS} members")
            if info.isreg() and not info.issparse():
                found[info.name.removeprefix("./")] = Place(path, info.offset_data, info.size)
    if _DOCKER in found and "index.json" not in found:
        raise ValueError("an archive of docker's older kind, which keeps no digest of its images")
    return found


def _same(name: str, reference: Reference) -> bool:
    try:
        return Reference.parse(name) == reference
    except ValueError:
        return False
