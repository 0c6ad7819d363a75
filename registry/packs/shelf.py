"""The packs in a registry, read over our own client: every byte is checked against its digest before it counts.

>>> shelf = Shelf(remote, Place.of("mirror"))
>>> for one in shelf.packs():
...     print(one.name, one.tag, one.digest)
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from registry.client.remote import RemoteRegistry
from registry.errors import DryportError, RemoteError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import TITLE, Manifest
from registry.packs.model import Pack
from registry.packs.place import Place, is_derived
from registry.packs.reading import read_archive

PACK_BYTES = 256 << 20
_AGAIN = "push it again from its source, or import the bundle again"


@dataclass(frozen=True, slots=True)
class Found:
    """A pack as a registry holds it: its manifest, its one layer, and the archive in it."""

    repository: str
    tag: str
    digest: Digest
    layer: Descriptor
    archive: bytes
    pack: Pack
    tags: tuple[str, ...] = ()
    """Parent and group tags that name the same manifest."""

    @property
    def reference(self) -> str:
        """`repository:tag`."""
        return f"{self.repository}:{self.tag}"


@dataclass
class Shelf:
    """One registry's packs below one base path; what cannot be used is kept in `faults`."""

    remote: RemoteRegistry
    place: Place
    faults: list[DryportError] = field(default_factory=list)

    def packs(self) -> Iterator[Found]:
        """Yield every version of every pack, by name and tag; collect faults."""
        for repository in sorted(self.remote.repositories()):
            if self.place.name(repository):
                yield from self._versions(repository)

    def tags(self, name: str) -> Sequence[str]:
        """Return the version tags of a pack, without parent and group tags."""
        return sorted(tag for tag in self.remote.tags(self.place.repository(name)) if not is_derived(tag))

    def get(self, name: str, tag: str) -> Found:
        """Return a version of a pack. Raises RemoteError if it is not there or no pack."""
        return self._read(self.place.repository(name), tag)

    def manifest(self, name: str, tag: str) -> Manifest | None:
        """Return the manifest under a tag, whatever it is; None if there is none. Raises RemoteError."""
        repository = self.place.repository(name)
        named = self.remote.resolve(repository, tag)
        data = self.remote.manifest(repository, named.digest) if named else None
        try:
            return Manifest.parse(*data) if data else None
        except ValueError as error:
            raise RemoteError("manifest-invalid", str(error), where=f"{repository}:{tag}", hint=_AGAIN) from error

    def _versions(self, repository: str) -> Iterator[Found]:
        named: dict[Digest, list[str]] = {}
        own: list[str] = []
        try:
            for tag in sorted(self.remote.tags(repository)):
                descriptor = self.remote.resolve(repository, tag)
                if descriptor is not None and is_derived(tag):
                    named.setdefault(descriptor.digest, []).append(tag)
                elif descriptor is not None:
                    own.append(tag)
        except DryportError as error:
            self.faults.append(error)
            return
        for tag in own:
            try:
                one = self._read(repository, tag)
            except DryportError as error:
                self.faults.append(error)
                continue
            also = tuple(named.get(one.digest, ()))
            yield Found(one.repository, one.tag, one.digest, one.layer, one.archive, one.pack, also)

    def _read(self, repository: str, tag: str) -> Found:
        where = f"{repository}:{tag}"
        manifest = self.manifest(self.place.name(repository), tag)
        if manifest is None:
            raise RemoteError(
                "pack-missing",
                "the registry does not have this pack",
                where=where,
                hint="see what there is: dryport pack list",
            )
        layer = pack_layer(manifest)
        if layer is None:
            raise RemoteError("pack-form", "a pack is one layer titled NAME-VERSION.tar.gz", where=where, hint=_AGAIN)
        archive = self.remote.blob_bytes(repository, layer, PACK_BYTES)
        pack = read_archive(io.BytesIO(archive), where)
        seen = (self.place.repository(pack.metadata.name), pack.metadata.tag)
        if seen != (repository, tag) and not (seen[0] == repository and is_derived(tag)):
            raise RemoteError(
                "pack-name",
                "a pack is served under another name or version than its own",
                where=where,
                seen=pack.metadata.title,
                hint="push it again under its own name and version",
            )
        return Found(repository, tag, manifest.digest, layer, archive, pack)


def pack_layer(manifest: Manifest) -> Descriptor | None:
    """Return the layer of a pack's manifest; None if it has not the form of one."""
    layers = [blob for blob in manifest.blobs if blob.annotations.get(TITLE, "").endswith(".tar.gz")]
    return layers[0] if len(layers) == 1 else None
