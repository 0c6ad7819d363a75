"""What a repository's tags reach at a source: manifests with children before parents, blobs once, referrers too.

The walk is made once, before anything moves. Manifests that the destination holds are read there, not asked for again.
Its width and depth are bounded: a source may be hostile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from registry.content import ContentSource
from registry.errors import MediaError, RemoteError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import Manifest

MAX_DEPTH = 16
MAX_MANIFESTS = 200_000
Fault = type[MediaError] | type[RemoteError]


@dataclass
class Node:
    """A manifest of one repository, and the tags that name it."""

    digest: Digest
    manifest: Manifest
    tags: list[str] = field(default_factory=list)


@dataclass
class Graph:
    """One repository: `nodes` in the order in which a destination should get them."""

    repository: str
    nodes: dict[Digest, Node] = field(default_factory=dict)
    absent: set[Digest] = field(default_factory=set)
    """Children that the source leaves out on purpose."""
    missing: set[Digest] = field(default_factory=set)
    """Manifests that should be there and are not, or are none."""
    faults: list[MediaError | RemoteError] = field(default_factory=list)

    def blobs(self) -> dict[Digest, Descriptor]:
        """Return every blob that the manifests name."""
        return {blob.digest: blob for node in self.nodes.values() for blob in node.manifest.blobs}


class Walk:
    """Walks repositories of `source`; what is wrong there becomes a `fault` in the graph."""

    def __init__(self, source: ContentSource, known: ContentSource, fault: Fault) -> None:
        self._source = source
        self._known = known
        self._fault = fault

    def graph(self, repository: str) -> Graph:
        """Return what the repository's tags reach."""
        graph = Graph(repository)
        for tag in self._source.tags(repository):
            named = self._source.resolve(repository, tag)
            if named is None:
                self._report(graph, "manifest-missing", "a tag names a manifest that is not there", tag)
            elif self._visit(graph, named.digest, depth=0):
                graph.nodes[named.digest].tags.append(tag)
        return graph

    def _visit(self, graph: Graph, digest: Digest, depth: int) -> bool:
        """Add a manifest after what it stands on, and before what refers to it; say whether it is there."""
        if digest in graph.nodes:
            return True
        if depth > MAX_DEPTH or len(graph.nodes) >= MAX_MANIFESTS:
            expected = f"{MAX_DEPTH} levels and {MAX_MANIFESTS} manifests at most"
            raise self._fault("repository-large", "an endless repository", where=graph.repository, expected=expected)
        manifest = self._manifest(graph, digest)
        if manifest is None:
            return False
        for child in manifest.children:
            self._visit(graph, child.digest, depth + 1)
        graph.nodes[digest] = Node(digest, manifest)
        for referrer in self._source.referrers(graph.repository, digest):
            self._visit(graph, referrer.digest, depth + 1)
        return True

    def _manifest(self, graph: Graph, digest: Digest) -> Manifest | None:
        found = self._known.manifest(graph.repository, digest) or self._source.manifest(graph.repository, digest)
        if found is None and self._source.is_absent(graph.repository, digest):
            graph.absent.add(digest)
            return None
        try:
            if found:
                return Manifest.parse(*found)
            self._report(graph, "manifest-missing", "a manifest is named but not there", f"@{digest}")
        except ValueError as error:
            self._report(graph, "manifest-invalid", str(error), f"@{digest}")
        graph.missing.add(digest)
        return None

    def _report(self, graph: Graph, reference: str, message: str, name: str) -> None:
        where = f"{graph.repository}{'' if name.startswith('@') else ':'}{name}"
        graph.faults.append(self._fault(reference, message, where=where))


def selected(source: ContentSource, patterns: Sequence[str]) -> Sequence[str]:
    """Return the repositories that `patterns` name (`team/*` for many), or all; a plain name is not looked up."""
    plain = [pattern for pattern in patterns if not set(pattern) & set("*?[")]
    if patterns and len(plain) == len(patterns):
        return sorted(set(plain))
    names = source.repositories()
    return sorted(name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns))
