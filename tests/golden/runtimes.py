"""The expected output of every runtime's configuration, kept beside this file to be read in review.

python -m tests.golden.runtimes        writes it anew; what changed is then in the diff
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from registry.mirror import declared
from registry.mirror.configure import SOURCES, configuration
from registry.mirror.mapping import Mapping
from registry.mirror.runtimes import RUNTIMES
from registry.mirror.runtimes.files import Access, Configuration, Login

FOLDER = Path(__file__).parent / "runtimes"
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PASSWORD = "horse: #battery"
ACCESS = Access(CA, Login("pull", PASSWORD))
MAPPING = declared.of(
    ("one.example:5000", "two.example:5000"),
    ("docker.io", "ghcr.io", "registry.k8s.io", "git.example:5050"),
    ("registry.corp.example",),
)
PARTS = declared.of(("one.example:5000/hub",), ("docker.io", "ghcr.io/fluxcd=flux"))
"""What podman and OpenShift can tell apart, and containerd cannot."""
MANIFESTS = """
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: podinfo, namespace: apps}
spec: {interval: 10m, url: oci://ghcr.io/stefanprodan/manifests/podinfo, ref: {tag: latest}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: charts, namespace: flux-system}
spec: {type: oci, url: oci://registry-1.docker.io/bitnamicharts}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: classic, namespace: apps}
spec: {url: https://charts.example.org}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd}
spec:
  project: default
  destination: {namespace: web, server: https://kubernetes.default.svc}
  source: {chart: nginx, repoURL: registry-1.docker.io/bitnamicharts, targetRevision: 1.0.0}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: several, namespace: argocd}
spec:
  project: default
  destination: {namespace: web, server: https://kubernetes.default.svc}
  sources:
    - {repoURL: https://git.example.org/app.git, path: deploy, targetRevision: main}
    - {repoURL: oci://ghcr.io/team/app, path: ., targetRevision: 1.0.0}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: unrelated}
"""


def objects() -> list[dict[str, Any]]:
    """Return a cluster's manifests."""
    return list(yaml.safe_load_all(MANIFESTS))


def made(runtime: str, mapping: Mapping = MAPPING, access: Access = ACCESS) -> Configuration:
    """Return what a runtime gets."""
    return configuration(runtime, mapping, access, objects() if runtime in SOURCES else ())


def golden(found: Configuration) -> str:
    """Return a configuration as one text."""
    files = [f"==> {one.path}{' (0600)' if one.is_secret else ''}\n{one.text}" for one in found.files]
    return "\n".join([*files, "==> notes", *found.notes, ""])


CASES = {runtime: (runtime, MAPPING) for runtime in RUNTIMES} | {
    "podman-parts": ("podman", PARTS),
    "openshift-parts": ("openshift", PARTS),
    "docker-root": ("docker", declared.of(("one.example:5000",), ("docker.io=", "ghcr.io"))),
}

if __name__ == "__main__":
    for name, (runtime, mapping) in CASES.items():
        (FOLDER / f"{name}.txt").write_text(golden(made(runtime, mapping)))
