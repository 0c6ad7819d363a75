"""All runtimes that can be told of mirrors, by the name that an operator gives.

>>> configuration("containerd", mapping, Access(ca=pem)).files[0].path
'etc/containerd/certs.d/docker.io/hosts.toml'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from registry.errors import UsageError
from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.argocd import argocd
from registry.mirror.runtimes.containerd import containerd
from registry.mirror.runtimes.containers import crio, podman
from registry.mirror.runtimes.docker import docker
from registry.mirror.runtimes.files import Access, Configuration
from registry.mirror.runtimes.flux import flux
from registry.mirror.runtimes.k3s import k3s, rke2
from registry.mirror.runtimes.openshift import openshift

NODES = {"containerd": containerd, "k3s": k3s, "rke2": rke2, "crio": crio, "podman": podman, "docker": docker}
CLUSTERS = {"openshift": openshift}
SOURCES = {"flux": flux, "argocd": argocd}


def configuration(
    runtime: str, mapping: Mapping, access: Access, objects: Sequence[dict[str, Any]] = ()
) -> Configuration:
    """Return what `runtime` needs; `objects` are a cluster's manifests, for those whose sources have no mirrors.

    Raises UsageError for a mapping that the runtime cannot express, or without a mirror or an origin.
    """
    if not mapping.mirrors or not mapping.rules:
        raise UsageError(
            "mapping-empty",
            "a runtime is told which registries stand for which: at least one mirror and one origin",
            hint="--mirrors FILE, or --mirror HOST:PORT and --origin docker.io",
        )
    if runtime in SOURCES:
        return SOURCES[runtime](mapping, access, objects)
    if objects:
        raise UsageError(
            "manifests-unused",
            f"{runtime} needs no manifests changed: images keep their names",
            hint=f"leave --manifests out; it is for {' and '.join(SOURCES)}",
        )
    return (NODES | CLUSTERS)[runtime](mapping, access)
