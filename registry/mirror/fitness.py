"""What a registry is known not to take, told before anything is sent to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from registry.client.capabilities import Capabilities
from registry.errors import RemoteError
from registry.mirror.graph import Graph
from registry.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST

_DOCKER = frozenset({DOCKER_MANIFEST, DOCKER_LIST})


def unfit(graphs: Iterable[Graph], capabilities: Capabilities) -> Sequence[RemoteError]:
    """Return an error for each image that the registry was seen to refuse the like of."""
    found = []
    for graph in graphs:
        for node in graph.nodes.values():
            where = f"{graph.repository}@{node.digest}"
            is_sparse = any(child.digest not in graph.nodes for child in node.manifest.children)
            if is_sparse and capabilities.can("sparse-indexes") is False:
                found.append(_refused("sparse-index-unsupported", "an index without all its platforms", where))
            if node.manifest.media_type in _DOCKER and capabilities.can("docker-types") is False:
                found.append(_refused("docker-types-unsupported", "Docker's kinds of manifest", where))
    return found


_HINTS = {
    "sparse-index-unsupported": "copy all platforms: leave out --platform",
    "docker-types-unsupported": "have its administrator allow them, or leave these images out with --only",
}


def _refused(reference: str, what: str, where: str) -> RemoteError:
    return RemoteError(reference, f"the registry does not take {what}", where=where, hint=_HINTS[reference])
