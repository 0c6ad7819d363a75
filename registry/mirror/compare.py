"""Whether a target has what a selection takes: every manifest, tag and blob, asked one by one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from registry.content import ContentSource
from registry.mirror.copy import Terms, fault_of
from registry.mirror.graph import Graph, Node, Walk
from registry.mirror.selection import EVERYTHING, Selection
from registry.mirror.target import Target


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not at the target as it is at the source."""

    where: str
    expected: str
    seen: str
    """`missing`, or the digest that is there instead."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was asked for, and what differs."""

    repositories: int
    manifests: int
    tags: int
    blobs: int
    differences: Sequence[Difference]

    def as_json(self) -> dict[str, object]:
        """Return it as documented for `--json`."""
        return {
            "repositories": self.repositories,
            "manifests": self.manifests,
            "tags": self.tags,
            "blobs": self.blobs,
            "differences": [
                {"where": one.where, "expected": one.expected, "seen": one.seen} for one in self.differences
            ],
        }


def compare(
    source: ContentSource,
    target: Target,
    *,
    selection: Selection = EVERYTHING,
    terms: Terms = Terms(),  # noqa: B008
) -> Comparison:
    """Ask the target for all that the selection takes. Raises what the source or the target raises."""
    with ThreadPoolExecutor(terms.streams, "compare") as pool:
        walk = Walk(source, fault_of(source), selection=selection, each=pool.map)
        graphs = walk.graphs(selection.repositories(source.repositories))
        asked = [(graph, node) for graph in graphs for node in graph.nodes.values()]
        found = [one for some in pool.map(lambda pair: _manifest(target, terms, *pair), asked) for one in some]
        blobs = [(graph, one) for graph in graphs for one in graph.blobs().values() if not one.is_foreign]
        held = list(pool.map(lambda pair: target.holds(terms.place(pair[0].repository), pair[1]), blobs))
    found += [
        Difference(f"{terms.place(graph.repository)}@{blob.digest}", f"{blob.size} bytes", "missing")
        for (graph, blob), is_held in zip(blobs, held, strict=True)
        if not is_held
    ]
    found += [
        Difference(fault.where or "", "at the source", fault.message) for graph in graphs for fault in graph.faults
    ]
    tags = sum(len(node.tags) for _, node in asked)
    return Comparison(sum(bool(graph.nodes) for graph in graphs), len(asked), tags, len(blobs), found)


def _manifest(target: Target, terms: Terms, graph: Graph, node: Node) -> Sequence[Difference]:
    repository, wanted = terms.place(graph.repository), str(node.digest)
    found = []
    if target.named(repository, node.digest) != node.digest:
        found.append(Difference(f"{repository}@{wanted}", wanted, "missing"))
    for tag in node.tags:
        seen = target.named(repository, tag)
        if seen != node.digest:
            found.append(Difference(f"{repository}:{tag}", wanted, str(seen or "missing")))
    return found
