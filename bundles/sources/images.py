"""Container images, from an OCI layout or from their registry: every byte as it was made, with all that refers to them.

The root manifest or index is kept exactly, so digests and signatures hold. Of an index only the children for the
definition's platforms are carried, and those that state no platform (attestations); the others stay named and absent.
Signatures, SBOMs and whatever else refers to an image are artefacts of their own.

>>> resolve(ImageEntry(image="registry.example.org/web:1.0", layout=Location(input="images")), ["linux/amd64"], inputs)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundles.definition import ImageEntry, Location
from bundles.lock import Kind, LayoutBlob, LockedArtifact, LockedBlob
from bundles.sources import registries
from bundles.sources.inputs import Inputs, spelled
from registry.errors import DefinitionError
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS, OCI_INDEX, REF_NAME, Manifest
from registry.oci.platform import spelled as spelled_platform
from registry.oci.reference import Reference

MAX_DEPTH = 4
"""Indexes may hold indexes; no image in the field goes deeper than two."""
_UNKNOWN = "unknown/unknown"


def resolve(entry: ImageEntry, platforms: Sequence[str], inputs: Inputs) -> list[LockedArtifact]:
    """Return the locked image, and what refers to it. Raises DefinitionError, RemoteError."""
    reference = Reference.parse(entry.image)
    if entry.layout is None:
        return registries.resolve(reference, platforms, inputs.require_registries())
    layout = Layout(inputs.directory(entry.layout), entry.layout)
    found = _Found(layout, frozenset(platforms))
    root = layout.root(reference)
    found.take(root, depth=0)
    if missing := sorted(set(platforms) - found.platforms):
        raise DefinitionError(
            "image-platform-missing",
            f"{reference} is not there for {', '.join(missing)}",
            where=f"layout {spelled(entry.layout)}",
            expected=", ".join(platforms),
            seen=", ".join(sorted(found.platforms)) or "no platform",
            hint="put that platform into the layout, or take it from the definition's platforms",
        )
    referring = list(_referring(layout, reference, found))
    image = found.artifact("image", str(reference), root, title=f"image {reference}")
    return [image, *referring]


def _referring(layout: Layout, image: Reference, found: _Found) -> Iterator[LockedArtifact]:
    """Yield what the layout's index holds about what was taken, and about that: signatures of an SBOM, say."""
    about, waiting = set(found.manifests), [one for one in layout.index().children if layout.path(one.digest).is_file()]
    while waiting:
        next_ones = []
        for child in waiting:
            is_known = child.media_type in INDEXES | MANIFESTS and child.digest not in about
            subject = layout.manifest(child).subject if is_known else None
            if subject is None or subject.digest not in about:
                next_ones.append(child)
                continue
            taken = _Found(layout, found.wanted)
            taken.take(child, depth=0)
            about.add(child.digest)
            yield taken.artifact("content", f"{image.served_at}@{child.digest}", child)
        if len(next_ones) == len(waiting):
            return
        waiting = next_ones


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI image layout in a folder; `location` is how the lock names it."""

    folder: Path
    location: Location

    def root(self, reference: Reference) -> Descriptor:
        """Return the descriptor of the image whose ref.name is the full `reference`. Raises DefinitionError."""
        index = self.index()
        named = {child.annotations[REF_NAME]: child for child in index.children if REF_NAME in child.annotations}
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
        try:
            return Manifest.parse((self.folder / "index.json").read_bytes(), OCI_INDEX)
        except (OSError, ValueError) as error:
            raise self.fault("layout-invalid", f"not an OCI layout: {error}") from error

    def path(self, digest: Digest) -> Path:
        """Return where a blob lies."""
        return self.folder / "blobs" / digest.algorithm / digest.hex

    def locked(self, descriptor: Descriptor) -> LockedBlob:
        """Return the blob for the lock; raises DefinitionError if it is absent or of another size."""
        path = self.path(descriptor.digest)
        size = path.stat().st_size if path.is_file() else None
        if size != descriptor.size:
            raise DefinitionError(
                "layout-damaged",
                f"the layout {spelled(self.location)} does not hold {descriptor.digest} as it says",
                where=str(path),
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
        data = self.path(descriptor.digest).read_bytes()
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


@dataclass(slots=True)
class _Found:
    """What of an image is carried, in the order in which it is named."""

    layout: Layout
    wanted: frozenset[str]
    manifests: dict[Digest, LockedBlob] = field(default_factory=dict)
    blobs: dict[Digest, LockedBlob] = field(default_factory=dict)
    platforms: set[str] = field(default_factory=set)

    def take(self, descriptor: Descriptor, depth: int) -> None:
        if descriptor.media_type not in INDEXES | MANIFESTS or depth > MAX_DEPTH:
            raise self.layout.fault("layout-invalid", f"{descriptor.digest} is no image: {descriptor.media_type}")
        self.manifests[descriptor.digest] = self.layout.locked(descriptor)
        manifest = self.layout.manifest(descriptor)
        for child in self._carried(manifest.children):
            self.take(child, depth + 1)
        for blob in manifest.blobs:
            self.blobs[blob.digest] = self.layout.locked(blob)
        if manifest.blobs:
            self.platforms |= {self.layout.platform(manifest)} & self.wanted

    def artifact(self, kind: Kind, ref: str, root: Descriptor, title: str = "") -> LockedArtifact:
        """Return what was taken, from `root` on."""
        return LockedArtifact(
            kind=kind,
            ref=ref,
            root=self.manifests[root.digest],
            manifests=[one for digest, one in self.manifests.items() if digest != root.digest],
            blobs=list(self.blobs.values()),
            title=title,
        )

    def _carried(self, children: Sequence[Descriptor]) -> Iterator[Descriptor]:
        for child in children:
            platform = spelled_platform(child.platform or {})
            if platform in self.wanted or (platform in {"", _UNKNOWN} and self.layout.path(child.digest).is_file()):
                yield child


def _same(name: str, reference: Reference) -> bool:
    try:
        return Reference.parse(name) == reference
    except ValueError:
        return False
