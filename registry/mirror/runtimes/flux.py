"""Flux: its sources have no mirrors, so their URLs name the mirror; what they deploy goes by the nodes' runtime.

Made are the secrets with which a source reaches the mirror, and a Kustomize component that points OCI sources there:
a cluster's own kustomization takes it in under `components:`, and its files stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.files import NODES_TOO, Access, Configuration, NodeFile, docker_config, documents
from registry.mirror.runtimes.sources import Source, component, patch, replaced

FOLDER = "flux/dryport-mirror"
NAMESPACE = "flux-system"
CA_NAME, LOGIN_NAME = "dryport-mirror-ca", "dryport-mirror-login"
GROUP = "source.toolkit.fluxcd.io/"
KINDS = {"OCIRepository", "HelmRepository", "GitRepository", "Bucket"}


def flux(mapping: Mapping, access: Access, objects: Sequence[dict[str, Any]] = ()) -> Configuration:
    """Return the component for the sources among `objects`, a cluster's manifests."""
    patches, notes, namespaces = [], [], {NAMESPACE}
    for source in _sources(objects):
        url = str(source.spec.get("url", ""))
        target = replaced(mapping, url) if url.startswith("oci://") else None
        if target is None:
            notes.append(f"{source} stays as it is: {url or 'it'} is not OCI content of an origin")
            continue
        values: dict[str, Any] = {"url": target}
        if access.ca:
            values["certSecretRef"] = {"name": CA_NAME}
        if access.login:
            values["secretRef"] = {"name": LOGIN_NAME}
        patches.append(patch(source, values))
        namespaces.add(source.namespace or NAMESPACE)
    return Configuration(_files(mapping, access, patches, sorted(namespaces)), (*notes, *_notes()))


def _sources(objects: Sequence[dict[str, Any]]) -> Iterator[Source]:
    for value in objects:
        if str(value.get("apiVersion", "")).startswith(GROUP) and value.get("kind") in KINDS:
            yield Source.of(value)


def _files(
    mapping: Mapping, access: Access, patches: Sequence[dict[str, Any]], namespaces: Sequence[str]
) -> list[NodeFile]:
    files = []
    if access.ca:
        secrets = [_secret(CA_NAME, one, "Opaque", {"ca.crt": access.ca}) for one in namespaces]
        files.append(NodeFile(f"{FOLDER}/ca.yaml", documents(*secrets)))
    if access.login:
        data = {".dockerconfigjson": docker_config(mapping, access.login)}
        secrets = [_secret(LOGIN_NAME, one, "kubernetes.io/dockerconfigjson", data) for one in namespaces]
        files.append(NodeFile(f"{FOLDER}/login.yaml", documents(*secrets), is_secret=True))
    resources = [file.path.rpartition("/")[2] for file in files]
    return [*files, NodeFile(f"{FOLDER}/kustomization.yaml", documents(component(resources, patches)))]


def _secret(name: str, namespace: str, kind: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": data}


def _notes() -> tuple[str, ...]:
    return (
        f"name {FOLDER} under `components:` in the kustomization that holds the sources",
        "Flux has no mirrors of its own: a source that is not patched asks its origin: --manifests needs all",
        "a source is read from the first mirror only; keep login.yaml out of git, or encrypt it",
        NODES_TOO,
    )
