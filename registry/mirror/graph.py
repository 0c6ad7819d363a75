"""What a selection reaches at a source: manifests with children before parents, blobs once, referrers too.

The walk is made once, before anything moves, in waves: all tags, then all they name, then what these name, so that a
far registry is asked many things at once. Manifests that the destination holds are read there, not asked for again.
Width and depth are bounded: a source may be hostile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.content import ContentSource
from registry.errors import MediaError, RemoteError
from registry.mirror.selection import EVERYTHING, Selection
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import Manifest

MAX_DEPTH = 16
MAX_MANIFESTS = 200_000
Fault = type[MediaError] | type[RemoteError]
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map`, or a pool's."""
ATTESTED = "vnd.docker.reference.digest"
"""BuildKit's annotation on an index's child that is about another child."""
_NOTHING = Digest("sha256", "0" * 64)
_COMPANION = re.compile(r"(sha256|sha512)-([0-9a-f]{64,128})\.(sig|att|sbom|imgpkg)")
"""Tags by which cosign and imgpkg say what belongs to a manifest."""


@dataclass
class Node:
    """A manifest of one repository, and the tags that name it."""

    digest: Digest
    manifest: Manifest
    tags: list[str] = field(default_factory=list)
    level: int = 0
    """0 stands on no other manifest; what a manifest stands on, and what it refers to, is of a lower level."""


@dataclass
class Graph:
    """One repository: `nodes` in the order in which a destination should get them."""

    repository: str
    nodes: dict[Digest, Node] = field(default_factory=dict)
    absent: set[Digest] = field(default_factory=set)
    """Children that the source leaves out on purpose."""
    left_out: set[Digest] = field(default_factory=set)
    """Children of platforms that are not wanted."""
    missing: set[Digest] = field(default_factory=set)
    """Manifests that should be there and are not, or are none."""
    faults: list[MediaError | RemoteError] = field(default_factory=list)
    companions: dict[Digest, list[str]] = field(default_factory=dict)
    """Tags that belong to a manifest by their name."""

    def blobs(self) -> dict[Digest, Descriptor]:
        """Return every blob that the manifests name."""
        return {blob.digest: blob for node in self.nodes.values() for blob in node.manifest.blobs}

    def settle(self) -> None:
        """Give each node its level, and put the nodes in order."""
        for digest in self.nodes:
            self._level(digest)
        self.nodes = dict(sorted(self.nodes.items(), key=lambda pair: pair[1].level))

    def _level(self, digest: Digest) -> None:
        stack = [digest]
        while stack:
            node = self.nodes[stack[-1]]
            below = [part for part in _below(node.manifest) if part in self.nodes]
            unknown = [part for part in below if not self.nodes[part].level]
            if unknown and len(stack) <= MAX_DEPTH * 2:
                stack.append(unknown[0])
                continue
            node.level = 1 + max((self.nodes[part].level for part in below), default=0)
            stack.pop()


def _below(manifest: Manifest) -> Iterator[Digest]:
    yield from (child.digest for child in manifest.children)
    if manifest.subject:
        yield manifest.subject.digest


@dataclass(frozen=True)
class _Look:
    """One manifest to look at, and what was seen there."""

    graph: Graph
    digest: Digest
    depth: int
    manifest: Manifest | None = None
    referrers: Sequence[Descriptor] = ()
    is_absent: bool = False
    fault: MediaError | RemoteError | None = None
    tag: str | None = None
    """By which it was found."""


class Walk:
    """Walks repositories of `source`; what is wrong there becomes a `fault` in the graph."""

    def __init__(
        self,
        source: ContentSource,
        fault: Fault,
        *,
        known: ContentSource | None = None,
        selection: Selection = EVERYTHING,
        each: Each = map,
    ) -> None:
        self._source, self._fault = source, fault
        self._known = known
        self._selection = selection
        self._each = each

    def graph(self, repository: str) -> Graph:
        """Return what the selection reaches in one repository."""
        return self.graphs([repository])[0]

    def graphs(self, repositories: Iterable[str]) -> Sequence[Graph]:
        """Return what the selection reaches in each repository. Raises the fault for an endless repository."""
        graphs = [Graph(name) for name in repositories]
        tagged = [pair for pairs in self._each(self._tags, graphs) for pair in pairs]
        seen = list(self._each(self._root, tagged))
        roots = [_Look(graph, one.digest, 0) for graph in graphs for one in self._digests(graph)]
        wave = self._taken([*seen, *self._each(self._looked, roots)])
        while wave or (wave := self._companions(graphs)):
            wave = self._taken(self._each(self._looked, wave))
        for graph in graphs:
            graph.settle()
        return graphs

    # What is wanted

    def _tags(self, graph: Graph) -> Sequence[tuple[Graph, str]]:
        """Return the tags that are wanted, and note the companions that may be."""
        lines = self._selection.of_repository(graph.repository)
        tags = {one.one_tag for one in lines if one.one_tag}
        is_list_needed = any(not one.one_tag and not one.digest for one in lines)
        if is_list_needed or (self._selection.referrers and self._selection.wanted):
            for tag in self._source.tags(graph.repository):
                if any(one.takes(tag) for one in lines):
                    tags.add(tag)
                elif self._selection.referrers and (found := _COMPANION.fullmatch(tag)):
                    try:
                        graph.companions.setdefault(Digest(found[1], found[2]), []).append(tag)
                    except ValueError:
                        continue
        return [(graph, tag) for tag in sorted(tags)]

    def _digests(self, graph: Graph) -> Sequence[Any]:
        return [one for one in self._selection.of_repository(graph.repository) if one.digest]

    def _companions(self, graphs: Sequence[Graph]) -> list[_Look]:
        """Return what belongs, by its tag's name, to manifests that were reached, and was not looked at yet."""
        pairs = [
            (graph, tag)
            for graph in graphs
            for digest in [digest for digest in graph.companions if digest in graph.nodes]
            for tag in graph.companions.pop(digest)
        ]
        return self._taken(self._each(self._root, pairs))

    # One look

    def _root(self, pair: tuple[Graph, str]) -> _Look:
        """Look at what a tag names, once: its digest counts from then on."""
        graph, tag = pair
        named = self._source.resolve(graph.repository, tag)
        if named is None:
            message = "a tag names a manifest that is not there"
            fault = self._fault("manifest-missing", message, where=f"{graph.repository}:{tag}")
            return _Look(graph, _NOTHING, 0, fault=fault)
        return replace(self._looked(_Look(graph, named.digest, 0)), tag=tag)

    def _looked(self, look: _Look) -> _Look:
        graph, digest = look.graph, look.digest
        where = f"{graph.repository}@{digest}"
        found = (self._known.manifest(graph.repository, digest) if self._known else None) or self._source.manifest(
            graph.repository, digest
        )
        if found is None:
            if self._source.is_absent(graph.repository, digest):
                return _Look(graph, digest, look.depth, is_absent=True)
            fault = self._fault("manifest-missing", "a manifest is named but not there", where=where)
            return _Look(graph, digest, look.depth, fault=fault)
        try:
            manifest = Manifest.parse(*found)
        except ValueError as error:
            fault = self._fault("manifest-invalid", str(error), where=where)
            return _Look(graph, digest, look.depth, fault=fault)
        referrers = self._source.referrers(graph.repository, digest) if self._selection.referrers else ()
        return _Look(graph, digest, look.depth, manifest, referrers)

    # What it leads to

    def _taken(self, looks: Iterable[_Look]) -> list[_Look]:
        """Add what was seen to the graphs, and return what is to be looked at next."""
        wave: dict[tuple[str, Digest], _Look] = {}
        for look in looks:
            graph, manifest = look.graph, look.manifest
            if look.is_absent:
                graph.absent.add(look.digest)
            elif look.fault:
                graph.missing.add(look.digest)
                graph.faults.append(look.fault)
            if manifest is None:
                continue
            node = graph.nodes.setdefault(look.digest, Node(look.digest, manifest))
            node.tags += [look.tag] if look.tag else []
            for digest in [*self._children(graph, manifest), *(one.digest for one in look.referrers)]:
                if digest not in graph.nodes and digest not in graph.missing and digest not in graph.absent:
                    wave.setdefault((graph.repository, digest), _Look(graph, digest, look.depth + 1))
            if look.depth > MAX_DEPTH or len(graph.nodes) + len(wave) > MAX_MANIFESTS:
                expected = f"{MAX_DEPTH} levels and {MAX_MANIFESTS} manifests at most"
                raise self._fault(
                    "repository-large", "an endless repository", where=graph.repository, expected=expected
                )
        return list(wave.values())

    def _children(self, graph: Graph, manifest: Manifest) -> Sequence[Digest]:
        """Return the children that are wanted: by platform, and what is about one of them by annotation."""
        taken = {
            child.digest
            for child in manifest.children
            if ATTESTED not in child.annotations and self._selection.takes_platform(child.platform)
        }
        attested = {one.digest for one in manifest.children if one.annotations.get(ATTESTED) in set(map(str, taken))}
        others = [one.digest for one in manifest.children if one.digest not in taken | attested]
        if self._selection.platforms:
            graph.left_out.update(others)
            return [*taken, *attested]
        return [one.digest for one in manifest.children]
