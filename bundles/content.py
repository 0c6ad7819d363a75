"""A verified bundle as a registry sees it: repositories, tags, manifests, referrers and blobs, served in place.

Each blob byte that is read is proven against its signed 4 MiB chunk before it leaves; a chunk is kept while
neighbouring reads need it, so reading a blob in small steps hashes it once. Safe for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bundles.archive.artifacts import CarriedArtifact, carried_artifacts
from bundles.archive.chunks import CHUNK_BYTES, TableEntry, blob_name
from bundles.archive.reader import Archive
from registry.content import Content, Extent, Statement
from registry.errors import MediaError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import Manifest


@dataclass(slots=True)
class _Repository:
    tags: dict[str, Descriptor] = field(default_factory=dict)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    blobs: set[Digest] = field(default_factory=set)
    absent: set[Digest] = field(default_factory=set)


class BundleContent:
    """Implements registry.content.ContentSource over an archive. Raises MediaError if a manifest is damaged."""

    def __init__(
        self,
        archive: Archive,
        statement: Statement | None = None,
        base: Callable[[Digest], Content | None] | None = None,
    ) -> None:
        self._archive, self._base = archive, base
        self.statement = statement
        """What its signers said, for people to read."""
        self.artifacts: Sequence[CarriedArtifact] = tuple(carried_artifacts(archive))
        """Every artefact, by reference."""
        self._repositories: dict[str, _Repository] = {}
        for artifact in self.artifacts:
            repository = self._repositories.setdefault(artifact.repository, _Repository())
            if artifact.tag is not None:
                taken = repository.tags.setdefault(artifact.tag, artifact.root)
                if taken.digest != artifact.root.digest:
                    raise MediaError(
                        "names-collide",
                        "two artefacts would be served by one name",
                        where=artifact.ref,
                        hint="tell whoever made the bundle; nothing of it is used",
                    )
            repository.manifests.update(artifact.manifests)
            repository.blobs.update(artifact.blobs)
            repository.absent.update(artifact.absent)

    def repositories(self) -> Iterable[str]:
        """Return every repository's name, sorted."""
        return sorted(self._repositories)

    def tags(self, repository: str) -> Iterable[str]:
        """Return a repository's tags, sorted."""
        found = self._repositories.get(repository)
        return sorted(found.tags) if found else ()

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """Return the manifest that a tag names."""
        found = self._repositories.get(repository)
        return found.tags.get(tag) if found else None

    def manifest(self, repository: str, digest: Digest) -> tuple[bytes, str] | None:
        """Return a manifest's exact bytes and its media type."""
        found = self._repositories.get(repository)
        manifest = found.manifests.get(digest) if found else None
        return (manifest.data, manifest.media_type) if manifest else None

    def blob(self, repository: str, digest: Digest) -> Content | None:
        """Open a blob that the repository holds."""
        found = self._repositories.get(repository)
        if found is None or digest not in found.blobs:
            return None
        entry = self._archive.members.get(blob_name(digest))
        if entry is None:  # a delta leaves it out
            return self._base(digest) if self._base else None
        return MemberContent(self._archive, entry)

    def referrers(self, repository: str, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject is `subject`, by digest."""
        found = self._repositories.get(repository)
        manifests = sorted(found.manifests.items()) if found else []
        return [one.descriptor for _, one in manifests if one.subject and one.subject.digest == subject]

    def is_absent(self, repository: str, digest: Digest) -> bool:
        """Say whether a manifest of the repository names it and the bundle leaves it out on purpose."""
        found = self._repositories.get(repository)
        return found is not None and digest in found.absent


class MemberContent:
    """One blob inside the bundle (implements registry.content.Content, Located and Proven)."""

    proven_by = "the bundle's signed chunk table"

    def __init__(self, archive: Archive, entry: TableEntry) -> None:
        self._archive = archive
        self._entry = entry
        self._kept: tuple[int, bytes] = (-1, b"")

    @property
    def size(self) -> int:
        """Exact size in bytes."""
        return self._entry.size

    @property
    def extent(self) -> Extent | None:
        """Where its bytes lie in one piece, if they do; unlike those that `read` gives they are not proven."""
        located = self._archive.medium.located(self._entry.offset, self._entry.size)
        return Extent(*located, self._entry.size) if located else None

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` proven bytes from `offset`, fewer only at the end. Raises MediaError if they are damaged."""
        if offset < 0 or length < 0:
            raise ValueError("offset and length are not negative")
        end = min(offset + length, self.size)
        pieces = []
        while offset < end:
            number, inside = divmod(offset, CHUNK_BYTES)
            piece = self._chunk(number)[inside : inside + end - offset]
            pieces.append(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Let go of the chunk that was kept."""
        self._kept = (-1, b"")

    def _chunk(self, number: int) -> bytes:
        kept, data = self._kept  # one assignment below, one load here: threads see a whole pair
        if kept != number:
            data = b""
            self._kept = (-1, data)  # many blobs on their way at once hold one chunk each, not two
            data = self._archive.read_chunk(self._entry, number)
            self._kept = (number, data)
        return data
