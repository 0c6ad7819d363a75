"""What a trusted bundle carries: each artefact of index.json with all that its manifests name.

Manifests are read through the archive, so they are proven before they are parsed. What a manifest names and the table
does not list was left out when the bundle was built (a platform nobody asked for); a delta's table is its release's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bundles.archive.chunks import blob_name
from bundles.archive.layout import DESCRIPTION, KIND, LOCK_LAYER
from bundles.archive.reader import Archive
from bundles.lock import LOCK_BYTES, Lock
from registry.errors import MediaError
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS, REF_NAME, Manifest
from registry.oci.reference import Reference, repository_name, tag_name

MANIFEST_BYTES = 2 * strictjson.METADATA_BYTES


@dataclass(frozen=True, slots=True)
class CarriedArtifact:
    """One artefact: its names, and everything reachable from its root that the bundle holds."""

    kind: str
    ref: str
    title: str
    repository: str
    tag: str | None
    root: Descriptor
    manifests: Mapping[Digest, Manifest]
    blobs: Mapping[Digest, Descriptor]
    absent: frozenset[Digest]
    """Named by a manifest, and left out on purpose."""

    @property
    def size(self) -> int:
        """Bytes of all its distinct blobs and manifests."""
        return sum(len(one.data) for one in self.manifests.values()) + sum(one.size for one in self.blobs.values())


def carried_artifacts(archive: Archive) -> Iterator[CarriedArtifact]:
    """Yield every artefact, in the order of index.json. Raises MediaError for a damaged or senseless manifest."""
    for root in archive.index.children:
        yield _walk(archive, root)


def carried_lock(archive: Archive) -> Lock:
    """Return the lock that the bundle was built from. Raises MediaError if it carries none, or a damaged one."""
    for root in archive.index.children:
        if root.annotations.get(KIND) != "lock":
            continue
        layers = [one for one in _walk(archive, root).blobs.values() if one.media_type == LOCK_LAYER]
        try:
            if layers:
                return Lock.model_validate(
                    strictjson.loads(archive.read(layers[0].digest, LOCK_BYTES), limit=LOCK_BYTES)
                )
        except ValueError as error:
            raise MediaError(
                "lock-invalid",
                "the carried lock cannot be read",
                seen=str(error),
                hint="tell whoever made the bundle; nothing of it is used",
            ) from error
    raise MediaError(
        "lock-missing",
        "the bundle does not carry its lock",
        where=str(archive.medium.path),
        hint="tell whoever made the bundle; nothing of it is used",
    )


def owners(archive: Archive) -> dict[str, list[str]]:
    """Return, for each member, the references of the artefacts that need it, as far as manifests are readable."""
    found: dict[str, list[str]] = {}
    for root in archive.index.children:
        ref = root.annotations.get(REF_NAME, "")
        digests = {root.digest}
        try:
            artifact = _walk(archive, root)
            digests |= set(artifact.manifests) | set(artifact.blobs)
        except MediaError:
            pass  # the damaged manifest itself is still told of under this reference
        for digest in digests:
            found.setdefault(blob_name(digest), []).append(ref)
    return found


def served_name(kind: str, ref: str) -> tuple[str, str | None]:
    """Return the repository and tag under which an artefact is served. Raises ValueError."""
    if kind == "image":
        reference = Reference.parse(ref)
        return reference.served_at, reference.tag
    if kind == "content" and "@" in ref:
        return repository_name(ref.partition("@")[0]), None
    repository, _, tag = ref.partition(":")
    return repository_name(repository), tag_name(tag)


def _walk(archive: Archive, root: Descriptor) -> CarriedArtifact:
    kind, ref = root.annotations.get(KIND, ""), root.annotations.get(REF_NAME, "")
    manifests: dict[Digest, Manifest] = {}
    blobs: dict[Digest, Descriptor] = {}
    absent: set[Digest] = set()
    waiting = [root]
    try:
        repository, tag = served_name(kind, ref)
        while waiting:
            descriptor = waiting.pop()
            if descriptor.digest in manifests or descriptor.digest in absent:
                continue
            if blob_name(descriptor.digest) in archive.left_out:
                raise ValueError(f"the delta leaves out a manifest, {descriptor.digest}")  # noqa: TRY301
            if blob_name(descriptor.digest) not in archive.members:
                absent.add(descriptor.digest)
                continue
            data = archive.read(descriptor.digest, MANIFEST_BYTES)
            manifest = manifests[descriptor.digest] = Manifest.parse(data, descriptor.media_type)
            waiting.extend(child for child in manifest.children if child.media_type in MANIFESTS | INDEXES)
            for blob in manifest.blobs:
                if blob_name(blob.digest) in archive.members or blob_name(blob.digest) in archive.left_out:
                    blobs[blob.digest] = blob
                else:
                    absent.add(blob.digest)
    except ValueError as error:
        raise MediaError(
            "manifest-invalid",
            "a signed manifest is not usable",
            where=ref,
            seen=str(error),
            hint="tell whoever made the bundle; nothing of it is used",
        ) from error
    if root.digest in absent:
        raise MediaError(
            "manifest-missing",
            "index.json names a manifest that the bundle has not",
            where=ref,
            hint="tell whoever made the bundle; nothing of it is used",
        )
    title = root.annotations.get(DESCRIPTION, "")
    return CarriedArtifact(kind, ref, title, repository, tag, root, manifests, blobs, frozenset(absent))
