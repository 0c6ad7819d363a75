"""What each runtime is told of mirrors, and that it is left no way around them."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from typing import Any

import pytest
import yaml

from registry.errors import UsageError
from registry.mirror import declared
from registry.mirror.configure import CLUSTERS, NODES, SOURCES, configuration
from registry.mirror.mapping import Mapping
from registry.mirror.runtimes import RUNTIMES
from registry.mirror.runtimes.containers import DOMAINS
from registry.mirror.runtimes.files import Access, Configuration
from tests.golden.runtimes import ACCESS, CA, CASES, FOLDER, MAPPING, PARTS, PASSWORD, golden, made, objects

BASIC = base64.b64encode(f"pull:{PASSWORD}".encode()).decode()
OURS = {"one.example:5000", "two.example:5000", "registry.corp.example"}


def texts(found: Configuration) -> dict[str, str]:
    return {one.path: one.text for one in found.files}


def test_the_names_for_the_command_line_are_all_there_are() -> None:
    assert (*NODES, *CLUSTERS, *SOURCES) == RUNTIMES


@pytest.mark.parametrize("name", CASES)
def test_a_runtime_gets_exactly_what_was_reviewed(name: str) -> None:
    assert golden(made(*CASES[name])) == (FOLDER / f"{name}.txt").read_text(), "python -m tests.golden.runtimes"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_password_is_in_secret_files_alone_and_only_with_a_login(runtime: str) -> None:
    with_login, without = made(runtime), made(runtime, MAPPING, Access(CA))
    assert any(one.is_secret for one in with_login.files)
    for one in with_login.files:
        assert (PASSWORD in yaml_or_text(one.text) or BASIC in one.text) == one.is_secret
    assert not any(one.is_secret for one in without.files)
    assert PASSWORD not in repr(with_login)
    assert BASIC not in repr(with_login)


def yaml_or_text(text: str) -> str:
    """The text with YAML's quoting undone."""
    try:
        return repr(list(yaml.safe_load_all(text)))
    except yaml.YAMLError:
        return text


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_lies_below_the_root_it_is_given(runtime: str) -> None:
    for one in made(runtime).files:
        assert not one.path.startswith("/")
        assert not {"..", ".", ""} & set(one.path.split("/"))


@pytest.mark.parametrize("runtime", NODES)
def test_no_url_leads_anywhere_but_to_the_mirrors_and_direct_registries(runtime: str) -> None:
    for one in made(runtime).files:
        assert set(re.findall(r"https://([^/\"\s]+)", one.text)) <= OURS
        assert "http://" not in one.text.replace("http://127.0.0.1:9", "")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_no_check_is_switched_off(runtime: str) -> None:
    for one in made(runtime).files:
        assert not re.search(r"insecure|skip_verify|plain.?http", one.text, re.IGNORECASE)


def hosts_toml(runtime_files: dict[str, str], host: str) -> dict[str, Any]:
    return tomllib.loads(runtime_files[f"etc/containerd/certs.d/{host}/hosts.toml"])


@pytest.mark.parametrize("mirrors", [("one.example:5000",), ("one.example:5000", "two.example:5000/hub")])
def test_containerd_has_a_server_and_a_host_for_every_registry_and_for_all_others(mirrors: tuple[str, ...]) -> None:
    files = texts(configuration("containerd", declared.of(mirrors, ("docker.io", "ghcr.io"), ("a.b",)), ACCESS))
    for host in ("docker.io", "ghcr.io", "a.b", "_default", *(one.split("/")[0] for one in mirrors)):
        found = hosts_toml(files, host)
        # Without [host] containerd 1.6 drops the file and asks the upstream; without `server` that is the last resort.
        assert found["host"]
        assert found["server"].startswith("https://")
        assert all(one["override_path"] for one in (found, *found["host"].values()))
    asked = hosts_toml(files, "docker.io")
    in_order = list(dict.fromkeys([*asked["host"], asked["server"]]))
    expected = ["https://one.example:5000/v2/docker.io", "https://two.example:5000/v2/hub/docker.io"]
    assert in_order == expected[: len(mirrors)]
    assert hosts_toml(files, "_default")["server"] == "https://one.example:5000/v2/_not-mirrored"


def test_containerd_pushes_nothing_to_an_origins_name() -> None:
    found = hosts_toml(texts(made("containerd")), "docker.io")
    assert {tuple(one["capabilities"]) for one in (found, *found["host"].values())} == {("pull", "resolve")}


@pytest.mark.parametrize("runtime", ["k3s", "rke2"])
def test_k3s_and_rke2_ask_no_default_endpoint_and_have_an_entry_for_all_others(runtime: str) -> None:
    files = texts(made(runtime))
    settings = yaml.safe_load(files[f"etc/rancher/{runtime}/config.yaml.d/dryport-mirror.yaml"])
    assert settings == {"disable-default-registry-endpoint": True}
    mirrors = yaml.safe_load(files[f"etc/rancher/{runtime}/registries.yaml"])["mirrors"]
    assert mirrors["*"] == {"endpoint": ["https://one.example:5000/v2/_not-mirrored"]}
    assert set(mirrors) == {*MAPPING.hosts, *OURS, "*"}


@pytest.mark.parametrize(
    ("mirrors", "place", "rewrite"),
    [
        (("a.example", "b.example"), None, {"^(.*)$": "docker.io/$1"}),
        (("a.example/hub", "b.example/hub"), None, {"^(.*)$": "hub/docker.io/$1"}),
        (("a.example/hub",), "", {"^(.*)$": "hub/$1"}),
        (("a.example",), "", None),
    ],
)
def test_k3s_rewrites_a_name_once(mirrors: tuple[str, ...], place: str | None, rewrite: dict[str, str] | None) -> None:
    origin = "docker.io" if place is None else f"docker.io={place}"
    files = texts(configuration("k3s", declared.of(mirrors, (origin,)), ACCESS))
    entry = yaml.safe_load(files["etc/rancher/k3s/registries.yaml"])["mirrors"]["docker.io"]
    assert entry["endpoint"] == [f"https://{one.partition('/')[0]}" for one in mirrors]
    assert entry.get("rewrite") == rewrite


def test_k3s_refuses_mirrors_with_different_base_paths() -> None:
    with pytest.raises(UsageError) as caught:
        configuration("k3s", declared.of(("a.example/hub", "b.example"), ("docker.io",)), ACCESS)
    assert caught.value.reference == "runtime-one-base"


@pytest.mark.parametrize("runtime", ["podman", "crio"])
@pytest.mark.parametrize("mapping", [MAPPING, PARTS], ids=["hosts", "parts"])
def test_registries_conf_blocks_every_origin_and_searches_nowhere(runtime: str, mapping: Mapping) -> None:
    conf = tomllib.loads(texts(configuration(runtime, mapping, ACCESS))["etc/containers/registries.conf"])
    assert conf["unqualified-search-registries"] == []
    entries = {one["prefix"]: one for one in conf["registry"]}
    for rule in mapping.rules:
        assert entries[rule.origin]["blocked"] is True
        assert [one["location"] for one in entries[rule.origin]["mirror"]] == [
            f"{mirror}/{rule.place}" for mirror in mapping.mirrors
        ]
    for mirror in mapping.mirrors:
        assert not entries[mirror.host].get("blocked")
    assert all(entries[f"*.{domain}"]["blocked"] for domain in DOMAINS)


def test_docker_is_fenced_and_told_what_an_old_one_cannot_mirror() -> None:
    found = made("docker")
    files = texts(found)
    assert "etc/docker/daemon.json" not in files, "this mirror's root is not Docker Hub"
    assert tomllib.loads(files["etc/docker/certs.d/ghcr.io/hosts.toml"])["host"]
    fence = files["etc/systemd/system/docker.service.d/dryport-mirror.conf"]
    assert '"HTTPS_PROXY=http://127.0.0.1:9"' in fence
    assert '"NO_PROXY=127.0.0.1,localhost,one.example:5000,two.example:5000,registry.corp.example"' in fence
    assert "  ghcr.io/... is one.example:5000/ghcr.io/..." in found.notes


@pytest.mark.parametrize(
    ("mirrors", "origin", "expected"),
    [
        (("a.example", "b.example:5000"), "docker.io=", ["https://a.example", "https://b.example:5000"]),
        (("a.example/hub", "b.example"), "docker.io=", ["https://b.example"]),
        (("a.example",), "docker.io", None),
        (("a.example",), "ghcr.io=", None),
    ],
)
def test_a_docker_of_the_old_kind_gets_mirrors_that_are_docker_hub_alone(
    mirrors: tuple[str, ...], origin: str, expected: list[str] | None
) -> None:
    files = texts(configuration("docker", declared.of(mirrors, (origin,)), Access()))
    daemon = json.loads(files.get("etc/docker/daemon.json", "{}"))
    assert daemon.get("registry-mirrors") == expected


def test_openshift_never_contacts_a_source() -> None:
    sets = list(yaml.safe_load_all(texts(made("openshift"))["openshift/mirror-sets.yaml"]))
    assert [one["kind"] for one in sets] == ["ImageDigestMirrorSet", "ImageTagMirrorSet"]
    for one in sets:
        (entries,) = one["spec"].values()
        assert {entry["source"] for entry in entries} == set(MAPPING.hosts)
        assert {entry["mirrorSourcePolicy"] for entry in entries} == {"NeverContactSource"}


@pytest.mark.parametrize("runtime", ["containerd", "k3s", "rke2", "docker"])
def test_a_runtime_that_maps_hosts_refuses_a_part_of_one(runtime: str) -> None:
    with pytest.raises(UsageError) as caught:
        configuration(runtime, PARTS, Access())
    assert caught.value.reference == "runtime-maps-hosts"
    assert "ghcr.io/fluxcd" in caught.value.seen


@pytest.mark.parametrize("mapping", [Mapping(), declared.of(("one.example",), ()), declared.of((), ("docker.io",))])
def test_a_mapping_without_mirrors_or_origins_configures_nothing(mapping: Mapping) -> None:
    with pytest.raises(UsageError) as caught:
        configuration("podman", mapping, Access())
    assert caught.value.reference == "mapping-empty"


def test_manifests_are_for_those_without_mirrors_of_their_own() -> None:
    with pytest.raises(UsageError) as caught:
        configuration("podman", MAPPING, Access(), objects())
    assert caught.value.reference == "manifests-unused"


@pytest.mark.parametrize("runtime", SOURCES)
def test_a_source_that_stays_as_it_is_is_named(runtime: str) -> None:
    kept = [note for note in made(runtime).notes if "https://" in note]
    expected = {"flux": "HelmRepository apps/classic", "argocd": "Application argocd/several"}
    assert len(kept) == 1
    assert kept[0].startswith(expected[runtime])


@pytest.mark.parametrize("runtime", SOURCES)
@pytest.mark.parametrize(
    "strange",
    [{}, {"spec": None}, {"metadata": []}, {"spec": {"url": "oci://"}}, {"spec": {"url": "oci://ghcr.io/A B"}},
     {"spec": {"source": "x", "sources": "y"}}, {"spec": {"sources": [None, {"repoURL": 7, "chart": "x"}]}}],
    ids=repr,
)  # fmt: skip
def test_a_strange_manifest_is_no_crash(runtime: str, strange: dict[str, Any]) -> None:
    for head in (
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application"},
        {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository"},
    ):
        assert configuration(runtime, MAPPING, Access(), [head | strange]).files
