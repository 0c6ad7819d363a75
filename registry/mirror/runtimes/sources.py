"""GitOps objects that name a registry by URL, and the Kustomize component that makes them name the mirror."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.files import address
from registry.oci.reference import DEFAULT_HOST

_HUB_HOSTS = {"registry-1.docker.io", "index.docker.io"}
"""How charts' URLs call the default host: they name the server itself."""


@dataclass(frozen=True, slots=True)
class Source:
    """A Kubernetes object with sources in its spec."""

    api: str
    kind: str
    name: str
    namespace: str
    spec: Dictionary[str, Any]

    @classmethod
    def of(cls, value: Dictionary[str, Any]) -> Source:
        """Return the object in a manifest, whose parts may be anything."""
        metadata, spec = value.get("metadata"), value.get("spec")
        known = metadata if isinstance(metadata, dict) else {}
        return cls(
            str(value.get("apiVersion", "")),
            str(value.get("kind", "")),
            str(known.get("name", "")),
            str(known.get("namespace") or ""),
            spec if isinstance(spec, dict) else {},
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}{'/' if self.namespace else ''}{self.name}"


def replaced(mapping: Mapping, url: str) -> str | None:
    """Return the `oci://` URL at the first mirror, of a repository or of what is above some; None if no rule fits."""
    host, _, path = url.removeprefix("oci://").rstrip("/").partition("/")
    name = f"{DEFAULT_HOST if host in _HUB_HOSTS else host}/{path}".rstrip("/")
    try:
        place = mapping.folder(name)
    except ValueError:
        return None
    return None if place is None else f"oci://{address(mapping.mirrors[0], place)}"


def patch(source: Source, values: Dictionary[str, Any]) -> dict[str, Any]:
    """Return a Kustomize patch that sets `values`, by their paths below `spec`."""
    operations = [{"op": "add", "path": f"/spec/{path}", "value": value} for path, value in values.items()]
    group, _, version = source.api.rpartition("/")
    target = {"group": group, "version": version, "kind": source.kind, "name": source.name}
    if source.namespace:
        target["namespace"] = source.namespace
    return {"target": target, "patch": yaml.safe_dump(operations, sort_keys=False)}


def component(resources: Sequence[str], patches: Sequence[Dictionary[str, Any]]) -> dict[str, Any]:
    """Return the component's own file."""
    head: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    return head | {"resources": list(resources)} | ({"patches": list(patches)} if patches else {})
