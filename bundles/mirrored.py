"""A bundle as a mirror's destination: the lock that a walked source makes, and its blobs read from that source.

Manifests stand in the lock itself, since the walk has their bytes; blobs are fetched when the bundle is built. What
has no tag (a signature, say) is an artefact by its digest, or nothing would lead to it.

>>> lock = locked(graphs, named, Product("plane", "1.0.0", ["linux/amd64"]))
>>> build(lock, Path("plane-1.0.0.tar"), SourceFetch(source), progress)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bundles.lock import Inline, Lock, LockedArtifact, LockedBlob, Origin, SourceBlob
from registry.content import ContentSource
from registry.errors import DefinitionError
from registry.mirror.graph import Graph, Node
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_CONFIG, Manifest
from registry.oci.platform import spelled

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
CONFIG_BYTES = 8 << 20
BLOCK = 1 << 20
Named = Callable[[str, str], tuple[str, str]]
"""The kind and the reference of an artefact, from its repository at the source and `:tag` or `@digest`."""


@dataclass(frozen=True, slots=True)
class Product:
    """What the bundle is called."""

    name: str
    version: str
    platforms: Sequence[str]


def locked(graphs: Iterable[Graph], named: Named, product: Product) -> Lock:
    """Return the lock of all that was walked. Raises DefinitionError for content that no bundle can hold."""
    artifacts = [one for graph in graphs for one in artifacts_of(graph, named, SourceBlob(repository=graph.repository))]
    return Lock(
        product=product.name,
        version=product.version,
        platforms=sorted(product.platforms),
        definition=str(Digest.of(b"".join(f"{one.ref} {one.root.digest}\n".encode() for one in artifacts))),
        artifacts=sorted(artifacts, key=lambda one: one.ref),
    )


def platforms(graphs: Iterable[Graph], source: ContentSource) -> frozenset[str]:
    """Return the platforms of the images that were walked, as their configurations state them."""
    found = set()
    for graph in graphs:
        for node in graph.nodes.values():
            config = next(iter(node.manifest.blobs), None)
            if config and config.media_type in (OCI_CONFIG, DOCKER_CONFIG) and config.size <= CONFIG_BYTES:
                found.add(_stated(source, graph.repository, config.digest))
    return frozenset(found - {""})


class SourceFetch:
    """Gives the blobs of such a lock from the source that was walked (a `Fetch` of bundles.archive.writer)."""

    def __init__(self, source: ContentSource) -> None:
        self._source = source

    @contextmanager
    def __call__(self, blob: LockedBlob, start: int = 0) -> Iterator[Iterator[bytes]]:
        """Give a blob's bytes from `start` on, in blocks; whoever calls checks them."""
        if isinstance(blob.origin, Inline):
            yield iter([blob.origin.text.encode()[start:]])
            return
        repository = blob.origin.repository if isinstance(blob.origin, SourceBlob) else ""
        content = self._source.blob(repository, blob.digest)
        if content is None or content.size != blob.size:
            raise DefinitionError(
                "source-changed",
                "the source no longer has what was walked",
                where=f"{repository}@{blob.digest}",
                expected=f"{blob.size} bytes",
                seen="nothing" if content is None else f"{content.size} bytes",
                hint="copy again",
            )
        try:
            yield (content.read(offset, min(BLOCK, blob.size - offset)) for offset in range(start, blob.size, BLOCK))
        finally:
            content.close()


def artifacts_of(graph: Graph, named: Named, origin: Origin) -> Iterator[LockedArtifact]:
    """Yield what one repository's walk reached, each blob with `origin`: tagged first, then what nothing leads to."""
    reached: set[Digest] = set()
    # Parents first: what an index names needs no entry of its own.
    for node in sorted(graph.nodes.values(), key=lambda one: (not one.tags, -one.level)):
        if not node.tags and node.digest in reached:
            continue
        below = list(_reach(graph, node))
        reached |= {one.digest for one in below}
        for name in [f":{tag}" for tag in node.tags] or [f"@{node.digest}"]:
            kind, ref = named(graph.repository, name)
            yield LockedArtifact(
                kind="image" if kind == "image" else "content",
                ref=ref,
                root=_manifest(node),
                manifests=[_manifest(one) for one in below if one is not node],
                blobs=_blobs(below, origin),
            )


def _reach(graph: Graph, node: Node) -> Iterator[Node]:
    waiting, seen = [node], {node.digest}
    while waiting:
        one = waiting.pop()
        yield one
        for child in one.manifest.children:
            if child.digest in graph.nodes and child.digest not in seen:
                seen.add(child.digest)
                waiting.append(graph.nodes[child.digest])


def _manifest(node: Node) -> LockedBlob:
    manifest: Manifest = node.manifest
    origin = Inline(text=manifest.data.decode())
    return LockedBlob(
        digest=_plain(node.digest), size=len(manifest.data), media_type=manifest.media_type, origin=origin
    )


def _blobs(nodes: Iterable[Node], origin: Origin) -> list[LockedBlob]:
    found = {blob.digest: blob for node in nodes for blob in node.manifest.blobs if not blob.is_foreign}
    return [
        LockedBlob(
            digest=_plain(blob.digest),
            size=blob.size,
            media_type=blob.media_type,
            origin=origin,
        )
        for blob in found.values()
    ]


def _plain(digest: Digest) -> Digest:
    if digest.algorithm != "sha256":
        raise DefinitionError(
            "digest-unsupported",
            "a bundle holds content by sha256 alone",
            seen=str(digest),
            hint="leave it out with --only, or mirror it from registry to registry",
        )
    return digest


def _stated(source: ContentSource, repository: str, digest: Digest) -> str:
    content = source.blob(repository, digest)
    if content is None:
        return ""
    try:
        data = content.read(0, content.size)
        value = strictjson.loads(data) if digest.matches(data) else {}
    except ValueError:
        return ""
    finally:
        content.close()
    if not isinstance(value, dict):
        return ""
    return spelled(value)
