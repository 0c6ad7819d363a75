"""Packs put into a registry: once for each version, whole or not at all, and checked there.

* A version is immutable: other content under it is refused, the same content changes nothing.
* Blobs go first, the manifest last, under the version's tag; afterwards all of it is read back over our own client and
  compared by digest. Then the parent tags follow, and the group's tag.

>>> Push(shelf, oras).put(made)
Pushed(tag='1.0.0', digest=sha256:..., is_new=True, moved=('1.0.x', '1.x'))
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.errors import DefinitionError, DryportError, RemoteError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_MANIFEST
from registry.packs.artifact import CONFIG, PACK_LAYER, pack_manifest
from registry.packs.model import PackMetadata
from registry.packs.oras_client import Oras
from registry.packs.place import group_tag, is_derived, newest, parents
from registry.packs.shelf import PACK_BYTES, Shelf, pack_layer
from registry.packs.unpacking import listing
from registry.store import durable

_NOT_OURS = frozenset({"registry-denied", "registry-refuses"})


@dataclass(frozen=True, slots=True)
class Built:
    """A pack as archive and manifest, ready to be pushed."""

    metadata: PackMetadata
    archive: bytes
    layer: Descriptor
    manifest: bytes

    @classmethod
    def of(cls, metadata: PackMetadata, blocks: Iterable[bytes]) -> Built:
        """Return the pack that an archive makes. Raises DefinitionError if no reader would take it."""
        whole = bytearray()
        for block in blocks:
            whole += block
            if len(whole) > PACK_BYTES:
                raise DefinitionError(
                    "pack-large",
                    f"more than {PACK_BYTES >> 20} MiB",
                    where=metadata.title,
                    hint="take out of the pack what it does not install; images do not belong in it",
                )
        archive = bytes(whole)
        layer = Descriptor(PACK_LAYER, Digest.of(archive), len(archive))
        return cls(metadata, archive, layer, pack_manifest(metadata, layer))

    @property
    def digest(self) -> Digest:
        """The digest by which a lock or a person names the pack."""
        return Digest.of(self.manifest)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    repository: str
    tag: str
    digest: Digest
    is_new: bool
    moved: tuple[str, ...]
    """Parent and group tags that were set."""
    held: tuple[str, ...] = ()
    """Those that this user, or the registry's policy, does not let move."""


@dataclass(frozen=True)
class Push:
    """Puts packs on a shelf."""

    shelf: Shelf
    oras: Oras

    def put(self, built: Built) -> Pushed:
        """Push a pack. Raises DefinitionError if its version is taken, RemoteError if the registry does not hold it."""
        name, tag = built.metadata.name, built.metadata.tag
        digest, is_new = self._taken(built), False
        if digest is None:
            with tempfile.TemporaryDirectory(prefix="dryport-push-") as folder:
                for descriptor, data in ((built.layer, built.archive), (CONFIG, EMPTY_BYTES)):
                    path = Path(folder) / descriptor.digest.hex
                    durable.scratch(path, data)
                    self.oras.put_blob(path, descriptor)
            self.oras.put_manifest(tag, built.manifest)
            self._check(built)
            digest, is_new = built.digest, True
        moved, held = self._follow(built.metadata)
        return Pushed(self.shelf.place.repository(name), tag, digest, is_new, moved, held)

    def relink(self, name: str) -> list[str]:
        """Let all parent tags of a pack follow the newest version below them; return those that were set."""
        tags = self.shelf.tags(name)
        moved: list[str] = []
        for parent in sorted({parent for tag in tags for parent in parents(tag)}):
            target = newest(tags, parent)
            moved += self._point(name, parent, target) if target else []
        return moved

    def group(self, name: str, tag: str, group: str) -> list[str]:
        """Give a version its tag in a group; return the tags that were set."""
        if self.shelf.manifest(name, tag) is None:
            raise RemoteError(
                "pack-missing",
                "the registry does not have this pack",
                where=f"{self.shelf.place.repository(name)}:{tag}",
                hint="see what there is: dryport pack list",
            )
        return self._point(name, group_tag(group, tag), tag)

    def _follow(self, metadata: PackMetadata) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Set the tags that stand for others; who may add content only may not move them, and pushes all the same."""
        name, tags = metadata.name, self.shelf.tags(metadata.name)
        wanted = {parent: newest(tags, parent) for parent in parents(metadata.tag)}
        if metadata.group.strip():
            wanted[group_tag(metadata.group, metadata.tag)] = metadata.tag
        moved: list[str] = []
        held: list[str] = []
        for derived, target in wanted.items():
            try:
                moved += self._point(name, derived, target) if target else []
            except RemoteError as error:
                if error.reference not in _NOT_OURS:
                    raise
                held.append(derived)
        return tuple(moved), tuple(held)

    def _point(self, name: str, derived: str, tag: str) -> list[str]:
        """Let a derived tag name the same manifest as a version's tag; return it if it was moved."""
        target = self.shelf.manifest(name, tag)
        with suppress(RemoteError):  # what it named before may be damaged: it is set anew
            if (now := self.shelf.manifest(name, derived)) and target and now.digest == target.digest:
                return []
        if target is None or target.media_type != OCI_MANIFEST or not is_derived(derived):
            return []
        self.oras.put_manifest(derived, target.data)
        return [derived]

    def _taken(self, built: Built) -> Digest | None:
        """Return the digest of the same pack if it is there. Raises DefinitionError if another one is."""
        there = self.shelf.manifest(built.metadata.name, built.metadata.tag)
        if there is None:
            return None
        layer = pack_layer(there)
        if layer is not None and (layer.digest == built.layer.digest or self._is_same(built, layer)):
            return there.digest
        raise DefinitionError(
            "pack-version-taken",
            "the registry has another content under this version, and versions are immutable",
            where=f"{self.shelf.place.repository(built.metadata.name)}:{built.metadata.tag}",
            expected=f"an archive {layer.digest if layer else 'of no pack'}",
            seen=f"{built.layer.digest}",
            hint="give the pack a new version in pack.json; another flavour of the same version: --flavour NAME",
        )

    def _is_same(self, built: Built, layer: Descriptor) -> bool:
        """Say whether another tool's archive holds the very files; it may be packed in another way."""
        repository, where = self.shelf.place.repository(built.metadata.name), built.metadata.title
        try:
            theirs = listing(self.shelf.remote.blob_bytes(repository, layer, PACK_BYTES), where)
        except DryportError:
            return False
        return theirs == listing(built.archive, where)

    def _check(self, built: Built) -> None:
        """Read back what was pushed, over our own client. Raises RemoteError if a byte differs."""
        repository = self.shelf.place.repository(built.metadata.name)
        there = self.shelf.manifest(built.metadata.name, built.metadata.tag)
        if there is None or there.digest != built.digest:
            raise RemoteError(
                "push-differs",
                "the registry holds another manifest than was pushed",
                where=f"{repository}:{built.metadata.tag}",
                expected=str(built.digest),
                seen=str(there.digest) if there else "none",
                hint="somebody pushed at the same time, or the registry changes what it is given",
            )
        for blob in (built.layer, CONFIG):
            self.shelf.remote.blob_bytes(repository, blob, PACK_BYTES)
