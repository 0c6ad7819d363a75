"""A registry somewhere else as the target of a copy; where it keeps no list of referrers, the fallback tag is written.

The fallback tag (OCI distribution-spec 1.1, "Referrers Tag Schema") is an index that several clients may change at
once: it is read again after it was written, and written again if ours is not in it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from registry.client.push import RemoteTarget
from registry.client.remote import RemoteRegistry
from registry.content import Content, ContentSource
from registry.errors import DryportError, RemoteError
from registry.mirror.fitness import unfit
from registry.mirror.graph import Graph
from registry.mirror.target import Moved, Passage
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, OCI_INDEX, Manifest

_TRIES = 5


class RegistryTarget:
    """Takes content over the distribution API."""

    known: ContentSource | None = None
    refusals = (OSError,)

    def __init__(self, remote: RemoteTarget) -> None:
        self._remote = remote
        self._reader = RemoteRegistry.over(remote.transport)
        self._can = remote.capabilities
        # What a broken request left is not counted on before that was seen: large blobs go in chunks then.
        self._remote.habits.keeps_broken = bool(self._remote.habits.keeps_broken)
        self._unlisted: dict[tuple[str, Digest], list[Descriptor]] = {}
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return self._remote.url

    def holds(self, repository: str, descriptor: Descriptor) -> bool:
        """Say whether the repository shows a blob at its full size."""
        return self._remote.has_blob(repository, descriptor)

    def share(self, repository: str, descriptor: Descriptor, holder: str | None) -> bool:
        """Mount a blob."""
        if holder is None and not (self._can and self._can.can("anonymous-mount")):
            return False
        return holder != repository and self._remote.mount(repository, descriptor.digest, holder)

    def put(self, repository: str, descriptor: Descriptor, content: Content, passage: Passage) -> Moved:
        """Upload a blob, on from where an earlier run was."""

        def on_progress(more: int, state: object) -> None:
            passage.tell(more)
            passage.keep(state)  # type: ignore[arg-type]

        sent = self._remote.put_blob(repository, descriptor, content, passage.session, on_progress)
        return Moved(sent.bytes_sent)

    def named(self, repository: str, reference: str | Digest) -> Digest | None:
        """Ask what a tag or digest names."""
        return self._remote.manifest_digest(repository, reference)

    def record(self, repository: str, manifest: Manifest, digest: Digest) -> None:
        """Put a manifest under its digest."""
        done = self._remote.put_manifest(repository, manifest.data, manifest.media_type, digest=digest)
        if manifest.subject and not done.subject_seen:
            with self._lock:
                self._unlisted.setdefault((repository, manifest.subject.digest), []).append(manifest.descriptor)

    def tag(self, repository: str, manifest: Manifest, digest: Digest, tags: Sequence[str]) -> None:
        """Put tags."""
        self._remote.put_tags(repository, manifest.data, manifest.media_type, digest, tags)

    def check_fitness(self, graphs: Iterable[Graph]) -> Sequence[DryportError]:
        """Return what the probe saw refused."""
        return unfit(graphs, self._can) if self._can else ()

    def check_room(self, sizes: Iterable[int], contents: Iterable[Content | None]) -> None:
        """The API does not tell; a registry that is full refuses, and says so."""

    def finish(self) -> None:
        """Write the fallback tags of what the registry does not list by itself."""
        for (repository, subject), referrers in self._unlisted.items():
            self._list(repository, subject, referrers)
        self._unlisted.clear()

    def _list(self, repository: str, subject: Digest, referrers: Sequence[Descriptor]) -> None:
        tag = f"{subject.algorithm[:32]}-{subject.hex[:64]}"
        for _ in range(_TRIES):
            found = self._listed(repository, tag)
            lacking = [one for one in referrers if one.digest not in {other.digest for other in found}]
            if not lacking:
                return
            data = strictjson.canonical(
                {
                    "schemaVersion": 2,
                    "mediaType": OCI_INDEX,
                    "manifests": [one.as_json() for one in [*found, *lacking]],
                }
            )
            self._remote.put_tags(repository, data, OCI_INDEX, Digest.of(data), [tag])
        raise RemoteError(
            "referrers-contended",
            "others keep changing the list of what refers to a manifest",
            where=f"{self}/{repository}:{tag}",
            hint="when they are done, the same command again goes on",
        )

    def _listed(self, repository: str, tag: str) -> Sequence[Descriptor]:
        named = self._reader.resolve(repository, tag)
        found = self._reader.manifest(repository, named.digest) if named else None
        if found is None or found[1] not in INDEXES:
            return ()
        return Manifest.parse(*found).children
