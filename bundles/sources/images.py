"""Container images, from an OCI layout or from their registry: every byte as it was made, with all that refers to them.

The root manifest or index is kept exactly, so digests and signatures hold. Of an index only the children for the
definition's platforms are carried, and those that state no platform (attestations); the others stay named and absent.
Signatures, SBOMs and whatever else refers to an image are artefacts of their own.

>>> resolve(ImageEntry(image="registry.example.org/web:1.0", layout=Location(input="images")), ["linux/amd64"], inputs)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bundles.definition import ImageEntry
from bundles.lock import Kind, LockedArtifact, LockedBlob
from bundles.sources import registries
from bundles.sources.inputs import Inputs, spelled
from bundles.sources.layouts import Layout
from registry.errors import DefinitionError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS
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
    layout = Layout.of(inputs, entry.layout)
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
    about, waiting = set(found.manifests), [one for one in layout.index().children if layout.holds(one.digest)]
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
            if platform in self.wanted or (platform in {"", _UNKNOWN} and self.layout.holds(child.digest)):
                yield child
