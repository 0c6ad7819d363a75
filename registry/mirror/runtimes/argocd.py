"""Argo CD: its applications have no mirrors, so their `repoURL`s name the mirror; images go by the nodes' runtime.

Made are the certificate and the login of the mirror's repositories, and a Kustomize component that points the OCI
sources of applications there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.files import NODES_TOO, Access, Configuration, NodeFile, documents
from registry.mirror.runtimes.sources import Source, component, patch, replaced

FOLDER = "argocd/dryport-mirror"
NAMESPACE = "argocd"


def argocd(mapping: Mapping, access: Access, objects: Sequence[dict[str, Any]] = ()) -> Configuration:
    """Return the component for the applications among `objects`, a cluster's manifests."""
    patches, notes = [], []
    for application in _applications(objects):
        values: dict[str, Any] = {}
        for path, source in _oci_sources(application):
            url = str(source.get("repoURL", ""))
            target = _at_mirror(mapping, url) if url.startswith("oci://") or "chart" in source else None
            if target is None:
                notes.append(f"{application} keeps {url or 'a source without repoURL'}: no OCI content of an origin")
            else:
                values[f"{path}/repoURL"] = target
        if values:
            patches.append(patch(application, values))
    credentials = documents(*_credentials(mapping, access))
    files = [NodeFile(f"{FOLDER}/repositories.yaml", credentials, is_secret=access.login is not None)]
    if access.ca:
        data = {mirror.host.partition(":")[0]: access.ca for mirror in mapping.mirrors}
        files.append(NodeFile(f"{FOLDER}/tls-certs-patch.yaml", documents({"data": data})))
        notes.append(
            f"kubectl patch configmap argocd-tls-certs-cm -n {NAMESPACE} --patch-file {FOLDER}/tls-certs-patch.yaml"
        )
    files.append(NodeFile(f"{FOLDER}/kustomization.yaml", documents(component(["repositories.yaml"], patches))))
    return Configuration(files, (*notes, *_notes()))


def _applications(objects: Sequence[dict[str, Any]]) -> Iterator[Source]:
    for value in objects:
        if str(value.get("apiVersion", "")).startswith("argoproj.io/") and value.get("kind") == "Application":
            yield Source.of(value)


def _oci_sources(application: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each source with its path below `spec`."""
    if isinstance(one := application.spec.get("source"), dict):
        yield "source", one
    several = application.spec.get("sources")
    for number, one in enumerate(several if isinstance(several, list) else ()):
        if isinstance(one, dict):
            yield f"sources/{number}", one


def _at_mirror(mapping: Mapping, url: str) -> str | None:
    """Return the URL at the mirror; Argo CD writes a chart's OCI registry with no scheme at all."""
    if "://" in url:
        return replaced(mapping, url)
    target = replaced(mapping, f"oci://{url}")
    return target.removeprefix("oci://") if target else None


def _credentials(mapping: Mapping, access: Access) -> Iterator[dict[str, Any]]:
    """Yield templates for all repositories of each mirror: charts with no scheme, and OCI artifacts (3.1 and newer)."""
    login = {"username": access.login.user, "password": access.login.password} if access.login else {}
    for number, mirror in enumerate(mapping.mirrors):
        for kind, url, more in (("helm", str(mirror), {"enableOCI": "true"}), ("oci", f"oci://{mirror}", {})):
            labels = {"argocd.argoproj.io/secret-type": "repo-creds"}
            metadata = {"name": f"dryport-mirror-{number}-{kind}", "namespace": NAMESPACE, "labels": labels}
            data = {"type": kind, "url": url, **more, **login}
            yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def _notes() -> tuple[str, ...]:
    return (
        f"name {FOLDER} under `components:` in the kustomization that holds the applications",
        "Argo CD has no mirrors of its own: a source that is not patched asks its origin: --manifests needs all",
        "what an ApplicationSet makes is not patched: write the mirror's name into its template",
        "a source is read from the first mirror only; keep repositories.yaml out of git when it holds a login",
        NODES_TOO,
    )
