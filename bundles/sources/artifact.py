r"""What dryport makes itself, as OCI artifacts: a manifest of titled layers, ready for the lock.

>>> layers = [Layer.text("dists/dryport/Release", "Origin: dryport\n", "text/plain")]
>>> made("apt", "application/vnd.dryport.apt.v1", "dryport/apt/host:1.0.0", layers).root.size
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bundles.lock import Inline, Kind, LockedArtifact, LockedBlob
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_EMPTY, OCI_MANIFEST, TITLE, artifact


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob and the title by which it is found in its manifest."""

    title: str
    blob: LockedBlob

    @classmethod
    def text(cls, title: str, text: str, media_type: str) -> Layer:
        """Return a layer whose bytes the lock itself carries."""
        return cls(title, inline(text, media_type))

    @property
    def descriptor(self) -> Descriptor:
        """How the manifest names the layer."""
        return Descriptor(self.blob.media_type, self.blob.digest, self.blob.size, {TITLE: self.title})


def inline(text: str, media_type: str) -> LockedBlob:
    """Return a blob that the lock itself carries."""
    data = text.encode()
    return LockedBlob(digest=Digest.of(data), size=len(data), media_type=media_type, origin=Inline(text=text))


def made(
    kind: Kind,
    artifact_type: str,
    ref: str,
    layers: Sequence[Layer],
    *,
    annotations: Mapping[str, str] | None = None,
    title: str = "",
) -> LockedArtifact:
    """Return the locked artifact of `layers`, in their order, with the empty config."""
    manifest = artifact(artifact_type, [layer.descriptor for layer in layers], annotations)
    return LockedArtifact(
        kind=kind,
        ref=ref,
        root=inline(manifest.decode(), OCI_MANIFEST),
        blobs=[inline(EMPTY_BYTES.decode(), OCI_EMPTY), *(layer.blob for layer in layers)],
        title=title,
    )
