"""Where content goes: the border between the copy and a store, an OCI layout or a registry somewhere else.

A target verifies what it is given before anybody can see it, and says what it holds; the copy decides what goes where,
and in which order. Every method may be called by several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from registry.client.uploads import Resumable
from registry.content import Content, ContentSource
from registry.errors import DryportError
from registry.mirror.graph import Graph
from registry.mirror.space import check_space
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import Manifest

if TYPE_CHECKING:
    from registry.store.store import Store


@dataclass(frozen=True, slots=True)
class Moved:
    """What one blob cost."""

    sent: int
    shared: int = 0
    """Bytes that needed no copy: they lie on disk that the source has too."""


def _nothing(_: Resumable | None) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Passage:
    """How one blob's way is followed: who is told of progress, what an earlier run left, who keeps what is left now."""

    tell: Callable[[int], object]
    session: Resumable | None = None
    keep: Callable[[Resumable | None], None] = _nothing


class Target(Protocol):
    """Takes content under repositories and tags."""

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """What it raises where its disk takes nothing, or no more."""
        ...

    @property
    def known(self) -> ContentSource | None:
        """What it holds, where reading that is cheaper than asking the source."""
        ...

    def holds(self, repository: str, descriptor: Descriptor) -> bool:
        """Say whether the repository shows a blob, whole."""
        ...

    def share(self, repository: str, descriptor: Descriptor, holder: str | None) -> bool:
        """Show a blob that the repository `holder` shows (None: any that does); False if it has to be put."""
        ...

    def put(self, repository: str, descriptor: Descriptor, content: Content, passage: Passage) -> Moved:
        """Take a blob. Raises MediaError or DigestMismatchError if it is not what the descriptor says."""
        ...

    def named(self, repository: str, reference: str | Digest) -> Digest | None:
        """Return the digest of the manifest that a tag or digest names there, None if there is none."""
        ...

    def record(self, repository: str, manifest: Manifest, digest: Digest) -> None:
        """Take a manifest under its digest, byte for byte; what it names is there."""
        ...

    def tag(self, repository: str, manifest: Manifest, digest: Digest, tags: Sequence[str]) -> None:
        """Let tags name a manifest that was recorded."""
        ...

    def check_fitness(self, graphs: Iterable[Graph]) -> Sequence[DryportError]:
        """Return an error for each thing that it is known not to take; then nothing is sent."""
        ...

    def check_room(self, sizes: Iterable[int], contents: Iterable[Content | None]) -> None:
        """Raise SiteError if blobs of these sizes do not fit, as far as that can be known."""
        ...

    def finish(self) -> None:
        """Make durable and visible what `record` and `tag` said, where they did not."""
        ...


class StoreTarget:
    """A store of this machine."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.known: ContentSource | None = store

    def __str__(self) -> str:
        return str(self._store.folder)

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """What a disk raises, and an index on it."""
        from sqlalchemy.exc import OperationalError  # noqa: PLC0415 - came with the store; others need not wait for it

        return OSError, OperationalError

    def holds(self, repository: str, descriptor: Descriptor) -> bool:
        """Say whether the repository shows a blob, whole."""
        return self._store.has_blob(repository, descriptor.digest)

    def share(self, repository: str, descriptor: Descriptor, holder: str | None) -> bool:
        """Show a blob of any repository of the store."""
        return self._store.link_blob(repository, descriptor.digest, holder)

    def put(self, repository: str, descriptor: Descriptor, content: Content, passage: Passage) -> Moved:
        """Take a blob, by sharing its disk where that can be."""
        taken = self._store.take_blob(repository, descriptor.digest, content, passage.tell)
        return Moved(taken.size - taken.shared, taken.shared)

    def named(self, repository: str, reference: str | Digest) -> Digest | None:
        """Return the digest of the manifest that a tag or digest names."""
        if isinstance(reference, Digest):
            return reference if self._store.manifest(repository, reference) else None
        found = self._store.resolve(repository, reference)
        return found.digest if found else None

    def record(self, repository: str, manifest: Manifest, digest: Digest) -> None:
        """Take a manifest under its digest."""
        self.tag(repository, manifest, digest, ())

    def tag(self, repository: str, manifest: Manifest, digest: Digest, tags: Sequence[str]) -> None:
        """Let tags name a manifest."""
        self._store.put_manifest(repository, manifest.data, manifest.media_type, tags, digest=digest)

    def check_fitness(self, graphs: Iterable[Graph]) -> Sequence[DryportError]:  # noqa: ARG002
        """It takes everything."""
        return ()

    def check_room(self, sizes: Iterable[int], contents: Iterable[Content | None]) -> None:
        """Raise SiteError if the store's disk is too small."""
        check_space(self._store, sizes, contents)

    def finish(self) -> None:
        """All was durable at once."""
