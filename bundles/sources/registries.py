"""Images from the registries that their references name, with all that refers to them.

Which server is really asked for `registry.example.org` is this machine's affair: a mapping to mirrors, logins and
certificates come with the command, and neither definition nor lock holds any of it. A tag counts once, when it is
locked; a build asks by digest alone.

>>> registries = Registries(reach, Mapping())
>>> [one.ref for one in resolve(Reference.parse("ghcr.io/team/app:1.0"), ["linux/amd64"], registries)]
['ghcr.io/team/app:1.0', 'ghcr.io/team/app@sha256:...']
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from bundles.lock import LockedArtifact, LockedBlob, RegistryBlob
from bundles.mirrored import artifacts_of, platforms
from registry.client.remote import RemoteRegistry
from registry.errors import DefinitionError, RemoteError
from registry.mirror.graph import Graph, Walk
from registry.mirror.mapping import Mapping
from registry.mirror.selection import Selection
from registry.oci.descriptor import Descriptor
from registry.oci.reference import Reference

BLOCK_BYTES = 1 << 20
CHANGED = {"blob-missing": "source-missing", "size-differs": "source-changed"}
"""What a registry that lost or changed a blob is told as, as for every kind of source."""
SERVERS = {"docker.io": "registry-1.docker.io"}
"""Hosts of references that are no server's name."""


@dataclass
class Registries:
    """The registries of one run, each opened once; may be used from several threads."""

    reach: Callable[[str], RemoteRegistry]
    """Opens the registry at `HOST[:PORT]`."""
    mapping: Mapping = field(default_factory=Mapping)
    _open: dict[str, RemoteRegistry] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, original: Reference) -> tuple[RemoteRegistry, str]:
        """Return the registry that is asked for `original`, and the repository there. Raises DefinitionError."""
        try:
            mirrors = () if original.host in self.mapping.direct else self.mapping.mirrored(original)
        except ValueError as error:
            hint = "mend the file that --mirrors names"
            raise DefinitionError("mirror-cannot-hold", str(error), where=str(original), hint=hint) from error
        at = mirrors[0] if mirrors else replace(original, host=SERVERS.get(original.host, original.host))
        with self._lock:
            if at.host not in self._open:
                self._open[at.host] = self.reach(at.host)
            return self._open[at.host], at.repository

    def blocks(self, place: str, blob: LockedBlob, start: int) -> Iterator[bytes]:
        """Yield a blob's bytes from `start` on, from the registry for `HOST/REPOSITORY`.

        Raises DefinitionError if it has no longer what was locked, RemoteError if it does not answer.
        """
        host, _, path = place.partition("/")
        registry, repository = self.find(Reference(host, path))
        content = registry.blob_of(repository, Descriptor(blob.media_type, blob.digest, blob.size))
        try:
            for offset in range(start, blob.size, BLOCK_BYTES):
                yield content.read(offset, min(BLOCK_BYTES, blob.size - offset))
        except RemoteError as error:
            if error.reference not in CHANGED:
                raise
            raise DefinitionError(
                CHANGED[error.reference],
                error.message,
                where=f"{blob.digest} of {place}, at {error.where}",
                expected=f"{blob.size} bytes, {blob.digest}",
                seen=error.seen,
                hint="push the image there again, or lock again: dryport bundle lock bundle.yaml",
            ) from error
        finally:
            content.close()

    def close(self) -> None:
        """Close every connection."""
        for one in self._open.values():
            one.__exit__()


def resolve(image: Reference, wanted: Sequence[str], registries: Registries) -> list[LockedArtifact]:
    """Return the locked image, and each signature, attestation and SBOM of it as an artefact of its own.

    Raises DefinitionError if the image is not there or lacks a platform, RemoteError if its registry does not answer.
    """
    registry, repository = registries.find(image)
    line = f"{repository}@{image.digest}" if image.digest else f"{repository}:{image.tag}"
    graph = Walk(registry, RemoteError, selection=Selection.of([line], wanted)).graph(repository)
    _require_whole(image, registry.url, graph)
    place = f"{image.host}/{image.repository}"
    _require_platforms(image, wanted, platforms([graph], registry))
    own = f"@{image.digest}" if image.digest else f":{image.tag}"

    def named(_: str, name: str) -> tuple[str, str]:
        return ("image", str(image)) if name == own else ("content", f"{image.served_at}{name}")

    return list(artifacts_of(graph, named, RegistryBlob(repository=place)))


def _require_whole(image: Reference, url: str, graph: Graph) -> None:
    if not graph.faults:
        return
    first = graph.faults[0]
    if not graph.nodes:
        raise DefinitionError(
            "image-missing",
            f"{image} is not in its registry",
            where=url,
            seen=first.message,
            hint="mend the reference in the definition, or name the mirror that has it with --mirrors",
        )
    raise DefinitionError(
        "image-incomplete",
        f"{image} names what its registry does not have: {first.message}",
        where=f"{url} {first.where}",
        hint="push the image again, whole",
        findings=[DefinitionError(one.reference, one.message, where=one.where, hint=one.hint) for one in graph.faults],
    )


def _require_platforms(image: Reference, wanted: Sequence[str], stated: frozenset[str]) -> None:
    if missing := sorted(set(wanted) - stated):
        raise DefinitionError(
            "image-platform-missing",
            f"{image} is not there for {', '.join(missing)}",
            where=str(image),
            expected=", ".join(wanted),
            seen=", ".join(sorted(stated)) or "no platform",
            hint="take another image, or take that platform from the definition's platforms",
        )
