"""`dryport mirror config` as far as it needs no node: what it writes, what it shows, what it refuses."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from installer.cli.main import main
from registry.mirror.runtimes import RUNTIMES
from tests.authority import Authority
from tests.golden.runtimes import MANIFESTS
from tests.sample_bundles import API, WEB, Sample
from tests.unit.test_cli_registry import published

MAPPED = ("--mirror", "one.example:5000", "--origin", "docker.io")
PASSWORD = "s3cret 'quoted' : #"


class Operator:
    """Types commands and reads what comes back."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def sees(self, *words: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["mirror", "config", *map(str, words)])
        printed = self._capsys.readouterr()
        assert ended.value.code == code, printed
        return printed.out

    def types(self, *words: object, code: int = 0) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.sees(*words, "--json", code=code))
        return value


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(capsys)


@pytest.fixture
def login(tmp_path: Path) -> tuple[str, ...]:
    authority = Authority(tmp_path)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return ("--ca", str(authority.ca), "--user", "pull", "--password-file", str(tmp_path / "password"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_files_are_written_with_secrets_closed_to_others(
    runtime: str, operator: Operator, login: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "node"
    found = operator.types(runtime, *MAPPED, *login, "--out", out)
    written = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    assert set(written) == {one["path"] for one in found["files"]}
    modes = {one["path"]: one["mode"] for one in found["files"]}
    assert "0600" in modes.values()
    for name, path in written.items():
        assert f"{stat.S_IMODE(path.stat().st_mode):04o}" == modes[name]
    assert "text" not in found["files"][0]
    before = {name: path.read_bytes() for name, path in written.items()}
    operator.types(runtime, *MAPPED, *login, "--out", out)
    assert {name: path.read_bytes() for name, path in written.items()} == before


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_dry_run_shows_everything_but_the_password(
    runtime: str, operator: Operator, login: tuple[str, ...], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    shown = operator.sees(runtime, *MAPPED, *login, "--dry-run")
    assert "s3cret" not in shown
    assert "one.example:5000" in shown
    assert operator.types(runtime, *MAPPED, *login, "--dry-run")["files"][0]["text"]
    assert sorted(tmp_path.iterdir()) == before


def test_nodes_get_the_certificates_in_a_file_and_no_key(operator: Operator, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    secret = authority._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "both.pem").write_bytes(secret + authority.ca.read_bytes())
    operator.types("podman", *MAPPED, "--ca", tmp_path / "both.pem", "--out", tmp_path / "node")
    written = tmp_path / "node/etc/containers/certs.d/one.example:5000/ca.crt"
    assert written.read_bytes() == authority.ca.read_bytes()


def test_a_file_and_options_say_the_same(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "mirrors.yaml").write_text(
        "apiVersion: dryport/v1\nkind: Mirrors\nmirrors: [one.example:5000]\norigins: [docker.io]\n"
    )
    by_file = operator.types("containerd", "--mirrors", tmp_path / "mirrors.yaml", "--dry-run")
    assert by_file == operator.types("containerd", *MAPPED, "--dry-run")


def test_sources_of_a_cluster_are_pointed_at_the_mirror(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "apps.yaml").write_text(MANIFESTS)
    found = operator.types("flux", *MAPPED, "--origin", "ghcr.io", "--manifests", tmp_path / "apps.yaml", "--dry-run")
    text = "\n".join(one["text"] for one in found["files"])
    assert "oci://one.example:5000/ghcr.io/stefanprodan/manifests/podinfo" in text


@pytest.mark.parametrize(
    ("words", "reference"),
    [
        (["podman", *MAPPED], "out-missing"),
        (["podman", *MAPPED, "--out", "x", "--dry-run"], "out-missing"),
        (["podman", *MAPPED, "--dry-run", "--prove", "list"], "out-missing"),
        (["podman", "--dry-run"], "mapping-missing"),
        (["podman", *MAPPED, "--mirrors", "x.yaml", "--dry-run"], "mapping-missing"),
        (["podman", "--mirror", "https://x", "--origin", "docker.io", "--dry-run"], "mapping-malformed"),
        (["podman", "--mirror", "x.example", "--dry-run"], "mapping-empty"),
        (["podman", *MAPPED, "--user", "pull", "--dry-run"], "login-incomplete"),
        (["podman", *MAPPED, "--ca", "/nowhere.pem", "--dry-run"], "ca-unreadable"),
        (["podman", *MAPPED, "--manifests", "/nowhere.yaml", "--dry-run"], "manifests-unreadable"),
        (["podman", *MAPPED, "--dry-run", "--on", "true"], "proof-missing"),
        (["podman", *MAPPED, "--dry-run", "--unwatched"], "proof-missing"),
        (["podman", *MAPPED, "--prove", "/nowhere", "--host", "n1"], "node-ambiguous"),
        (["podman", *MAPPED, "--prove", "/nowhere"], "list-unreadable"),
        (["k3s", *MAPPED, "--prove", "/nowhere"], "runtime-unproven"),
        (["containerd", *MAPPED, "--origin", "ghcr.io/team", "--dry-run"], "runtime-maps-hosts"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(operator: Operator, words: list[str], reference: str) -> None:
    found = operator.types(*words, code=2)
    assert found["reference"] == reference
    assert found["hint"]


def test_a_place_that_refuses_is_named(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = operator.types("podman", *MAPPED, "--out", tmp_path / "file/node", code=6)
    assert found["reference"] == "config-unwritable"


def test_a_bundle_names_its_images_once_it_is_verified(operator: Operator, tmp_path: Path) -> None:
    trust = published(Sample.small(), tmp_path / "bundle.tar")
    said = "mirror one.example 192.0.2.1\nready"
    node = f"#!/bin/sh\necho '{said}'; while read -r line; do echo \"said $line\"; echo 'code 1'; done\n"
    (tmp_path / "node").write_text(node)
    (tmp_path / "node").chmod(0o755)
    words = ("podman", *MAPPED, "--on", tmp_path / "node", "--prove", tmp_path / "bundle.tar")
    assert operator.types(*words, code=2)["reference"] == "trust-missing"
    found = operator.types(*words, *trust, code=7)
    assert [one["image"].partition("@")[0] for one in found["images"]] == sorted([WEB, API])
    assert found["proven"] == 0
    assert found["error"]["reference"] == "images-unproven"


def test_a_tar_that_is_no_bundle_is_refused_as_one(operator: Operator, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(__file__, "x")
    found = operator.types("podman", *MAPPED, "--prove", tmp_path / "x.tar", code=2)
    assert found["reference"] == "trust-missing"
