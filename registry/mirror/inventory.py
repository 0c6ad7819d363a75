"""What a store holds, and what its manifests name that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry.errors import MediaError
from registry.mirror.graph import Walk
from registry.oci.digest import Digest
from registry.store.store import Store


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository's name and tags."""

    name: str
    tags: Sequence[str]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Counts over all repositories; a blob that several show is counted once."""

    repositories: Sequence[Repository]
    manifests: int
    blobs: int
    size: int
    missing: Sequence[str]
    """`repository@digest` of what should be there and is not whole."""

    def as_json(self) -> dict[str, object]:
        """Return the inventory as documented for `--json`."""
        return {
            "repositories": [{"name": one.name, "tags": list(one.tags)} for one in self.repositories],
            "manifests": self.manifests,
            "blobs": self.blobs,
            "bytes": self.size,
            "missing": list(self.missing),
        }


def inventory(store: Store) -> Inventory:
    """Look at everything that tags and referrers reach; contents are judged by their size alone."""
    walk = Walk(store, MediaError)
    graphs = [walk.graph(name) for name in store.repositories()]
    sizes: dict[Digest, int] = {}
    missing: list[str] = []
    for graph in graphs:
        missing += [f"{graph.repository}@{digest}" for digest in sorted(graph.missing)]
        for digest, blob in graph.blobs().items():
            sizes[digest] = blob.size
            if not blob.is_foreign and not store.has_blob(graph.repository, digest):
                missing.append(f"{graph.repository}@{digest}")
    repositories = [Repository(graph.repository, tuple(store.tags(graph.repository))) for graph in graphs]
    manifests = {digest for graph in graphs for digest in graph.nodes}
    return Inventory(repositories, len(manifests), len(sizes), sum(sizes.values()), missing)
