"""What clusters are given: Kustomize applies it, and the API servers' own schemas accept it, unknown fields refused.

OpenShift, Flux and Argo CD themselves cannot run here; their schemas come from their Go modules.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.conftest import absent
from tests.golden.runtimes import CA, MANIFESTS, PASSWORD, made
from tests.interop.registry_site import foreign, run
from tests.lab.peers import PeerError, source

SCHEMAS = {
    "openshift": (
        "github.com/openshift/api",
        "v0.0.0-20250710004639-926605d3338b",
        "config/v1/zz_generated.crd-manifests/0000_10_config-operator_01_image[dt]*mirrorsets.crd.yaml",
    ),
    "flux": ("github.com/fluxcd/source-controller", "v1.7.3", "config/crd/bases/*.yaml"),
    "argocd": ("github.com/argoproj/argo-cd/v3", "v3.4.13", "manifests/crds/application-crd.yaml"),
}


def schemas(system: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the schemas of a system's objects, by API version and kind."""
    module, version, pattern = SCHEMAS[system]
    try:
        files = list(source(module, version).glob(pattern))
    except PeerError as error:
        absent(str(error))
        raise
    found = {}
    for path in files:
        crd = yaml.safe_load(path.read_text())["spec"]
        for one in crd["versions"]:
            key = f"{crd['group']}/{one['name']}", crd["names"]["kind"]
            found[key] = closed(one["schema"]["openAPIV3Schema"], is_top=True)
    return found


def closed(schema: dict[str, Any], *, is_top: bool = False) -> dict[str, Any]:
    """Return a schema that refuses what an API server would drop without a word: fields that it does not know."""
    found = dict(schema)
    for name in ("properties", "patternProperties"):
        if name in found:
            found[name] = {key: closed(value) for key, value in found[name].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(found.get(name), dict):
            found[name] = closed(found[name])
    if found.get("properties") and not found.get("x-kubernetes-preserve-unknown-fields") and not is_top:
        found.setdefault("additionalProperties", False)
    return found


def test_openshifts_mirror_sets_fit_their_schemas() -> None:
    known = schemas("openshift")
    (text,) = (one.text for one in made("openshift").files if one.path.endswith("mirror-sets.yaml"))
    sets = list(yaml.safe_load_all(text))
    assert len(sets) == 2
    for one in sets:
        jsonschema.validate(one, known[one["apiVersion"], one["kind"]])


def test_a_schema_refuses_a_field_that_is_misspelled() -> None:
    known = schemas("openshift")
    (text,) = (one.text for one in made("openshift").files if one.path.endswith("mirror-sets.yaml"))
    wrong = yaml.safe_load(text.partition("---")[0].replace("mirrorSourcePolicy", "mirrorSourcePolitics"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, known[wrong["apiVersion"], wrong["kind"]])


def kustomized(system: str, folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return a cluster's objects after its own kustomization took the component in, by kind and name."""
    for one in made(system).files:
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one.text)
    (folder / "apps.yaml").write_text(MANIFESTS)
    (folder / "kustomization.yaml").write_text(
        f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: [apps.yaml]\ncomponents: [{system}/dryport-mirror]\n"
    )
    objects = yaml.safe_load_all(run(foreign("kustomize"), "build", str(folder)))
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def test_fluxs_sources_name_the_mirror_and_fit_their_schemas(tmp_path: Path) -> None:
    known, objects = schemas("flux"), kustomized("flux", tmp_path)
    urls = {key: one["spec"]["url"] for key, one in objects.items() if "url" in one.get("spec", {})}
    assert urls == {
        ("OCIRepository", "podinfo"): "oci://one.example:5000/ghcr.io/stefanprodan/manifests/podinfo",
        ("HelmRepository", "charts"): "oci://one.example:5000/docker.io/bitnamicharts",
        ("HelmRepository", "classic"): "https://charts.example.org",
    }
    for key in urls:
        jsonschema.validate(objects[key], known[objects[key]["apiVersion"], objects[key]["kind"]])
    spec = objects["OCIRepository", "podinfo"]["spec"]
    assert objects["Secret", spec["certSecretRef"]["name"]]["stringData"]["ca.crt"] == CA
    assert objects["Secret", spec["secretRef"]["name"]]["type"] == "kubernetes.io/dockerconfigjson"


def test_argo_cds_applications_name_the_mirror_and_fit_their_schemas(tmp_path: Path) -> None:
    known, objects = schemas("argocd"), kustomized("argocd", tmp_path)
    web, several = objects["Application", "web"], objects["Application", "several"]
    assert web["spec"]["source"]["repoURL"] == "one.example:5000/docker.io/bitnamicharts"
    assert [one["repoURL"] for one in several["spec"]["sources"]] == [
        "https://git.example.org/app.git",
        "oci://one.example:5000/ghcr.io/team/app",
    ]
    for one in (web, several):
        jsonschema.validate(one, known[one["apiVersion"], one["kind"]])
    secret = objects["Secret", "dryport-mirror-0-helm"]
    assert secret["metadata"]["labels"] == {"argocd.argoproj.io/secret-type": "repo-creds"}
    assert secret["stringData"]["password"] == PASSWORD
    # How Argo CD finds a template: a repository's URL begins with the template's.
    assert web["spec"]["source"]["repoURL"].startswith(secret["stringData"]["url"])
