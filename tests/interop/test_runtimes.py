"""Runtimes pull by original names through the configuration that they were given, and ask nobody but the mirror.

Everything happens in a network namespace without a route, where a trap hears who asks anybody else.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from installer.cli.main import main
from installer.flows.prove import Outcome, prove
from installer.hosts.node import LocalNode
from installer.hosts.pull import PULLERS
from registry.errors import HostError
from registry.mirror import declared
from registry.mirror.mapping import Mapping
from registry.oci.digest import Digest
from registry.oci.reference import Reference
from registry.progress import Silent
from tests.conftest import need
from tests.interop.isolated import ELSEWHERE, MIRROR, NAME, PASSWORD, RESOLVER, Isolated
from tests.interop.mirrored import MAPPING, NAMES, ORIGINS, write

PROGRAMS = {"podman": ("podman",), "crio": ("podman",), "containerd": ("containerd", "ctr")}
DEAD = f"{NAME}:5999"
"""A mirror's address at which nobody listens."""


@pytest.fixture
def images(mirrored: tuple[Path, list[Reference]]) -> list[Reference]:
    return mirrored[1]


@pytest.fixture(autouse=True)
def site(mirror: Isolated) -> Isolated:
    """The isolated mirror; what a test before this one tried is not this one's."""
    (mirror.folder / "attempts").write_text("")
    return mirror


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A place with a short name, which podman wants; nothing may be left in it."""
    with tempfile.TemporaryDirectory(prefix="dp-") as short:
        yield Path(short)
        assert list(Path(short).iterdir()) == [], "the node's throwaway store was left"


@pytest.fixture(params=PROGRAMS)
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    need(*PROGRAMS[name])
    return name


class Node:
    """The isolated machine as a node whose runtime has a configuration."""

    def __init__(self, site: Isolated, runtime: str, scratch: Path, root: Path) -> None:
        self.site, self.runtime, self.root = site, runtime, root
        self.prefix = (*site.prefix, "env", f"TMPDIR={scratch}")

    def configured(self, mapping: Mapping = MAPPING, **changed: str) -> Node:
        write(self.site, self.runtime, self.root, mapping, **changed)
        return self

    def pulls(
        self, *wanted: Reference, mapping: Mapping = MAPPING, root: str = "", is_watched: bool = True
    ) -> Sequence[Outcome]:
        node, puller = LocalNode(self.prefix), PULLERS[self.runtime]
        root = root or str(self.root)
        return prove(node, puller, wanted, mapping, Silent(), root=root, is_watched=is_watched)


@pytest.fixture
def node(site: Isolated, runtime: str, scratch: Path, tmp_path: Path) -> Node:
    return Node(site, runtime, scratch, tmp_path)


def absent(name: str) -> Reference:
    """An image that is nowhere."""
    return replace(Reference.parse(name), digest=Digest.of(name.encode()))


def test_every_image_comes_by_its_original_name_from_the_mirror_alone(node: Node, images: list[Reference]) -> None:
    outcomes = node.configured().pulls(*images)
    assert [one.said for one in outcomes if not one.is_proven] == []
    assert [str(one.image).partition("@")[0] for one in outcomes] == list(NAMES)
    assert {one.served_by for one in outcomes} == {MIRROR}
    assert node.site.attempts == []


@pytest.mark.parametrize(
    "name", ["docker.io/library/absent:1", "ghcr.io/team/absent:1", "quay.io/team/x:1", "registry.k8s.io/pause:3"]
)
def test_what_the_mirror_has_not_is_asked_nowhere_else(node: Node, name: str) -> None:
    (outcome,) = node.configured().pulls(absent(name))
    assert not outcome.is_pulled
    assert outcome.elsewhere == ()
    assert node.site.attempts == []


def test_the_next_mirror_is_asked_where_the_first_does_not_answer(node: Node, images: list[Reference]) -> None:
    several = declared.of((DEAD, MIRROR), ORIGINS)
    outcomes = node.configured(several).pulls(*images, mapping=several)
    assert [one.said for one in outcomes if not one.is_proven] == []
    assert all(MIRROR in one.served_by.split(", ") for one in outcomes)
    assert node.site.attempts == []


@pytest.mark.parametrize("wrong", ["password", "ca"])
def test_neither_a_wrong_password_nor_an_unknown_authority_passes(
    node: Node, images: list[Reference], wrong: str, site: Isolated
) -> None:
    changed = {"password": "wrong"} if wrong == "password" else {"ca": site.other_ca.read_text()}
    (outcome,) = node.configured(**changed).pulls(images[0])
    assert not outcome.is_pulled
    assert ("certificate" if wrong == "ca" else "auth") in outcome.said.lower()
    assert node.site.attempts == []


def test_a_configuration_with_a_hole_is_caught(node: Node) -> None:
    node.configured()
    if node.runtime == "containerd":  # as containerd 1.6 reads a file that has everything but [host]
        path = node.root / "etc/containerd/certs.d/docker.io/hosts.toml"
        path.write_text(path.read_text().partition("[host.")[0])
    else:
        path = node.root / "etc/containers/registries.conf"
        path.write_text(path.read_text().replace("blocked = true", "blocked = false"))
    (outcome,) = node.pulls(absent("docker.io/library/absent:1"))
    assert not outcome.is_proven
    assert "registry-1.docker.io" in outcome.elsewhere
    assert f"{ELSEWHERE} port 443" in outcome.elsewhere
    assert "name registry-1.docker.io" in node.site.attempts
    assert "connection to port 443" in node.site.attempts


def test_the_way_out_is_seen_without_strace_too(node: Node) -> None:
    node.configured()
    shutil.rmtree(node.root / "etc")
    (node.root / "etc/containers").mkdir(parents=True)
    (outcome,) = node.pulls(absent("docker.io/library/absent:1"), is_watched=False)
    assert outcome.elsewhere == ("registry-1.docker.io",)
    assert f"{RESOLVER} port 53" not in outcome.elsewhere


def test_a_node_is_proven_with_what_it_really_uses(node: Node, images: list[Reference]) -> None:
    node.configured()
    real = node.root / "etc"
    if node.runtime == "containerd":
        (real / "containerd/config.toml").write_text(
            'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
        )
        mounts = f"mkdir -p /etc/containerd && mount --bind {real}/containerd /etc/containerd"
    else:
        shutil.copyfile("/etc/containers/policy.json", real / "containers/policy.json")
        mounts = f"mount --bind {real}/containers /etc/containers && export HOME={node.root}/root"
        if node.runtime == "crio":  # podman stands in for CRI-O, whose login it knows nothing of
            mounts += f" REGISTRY_AUTH_FILE={real}/crio/mirror-auth.json"
    node.prefix += ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")
    assert [one.is_proven for one in node.pulls(*images, root="/")] == [True] * len(images)
    assert node.site.attempts == []


def test_a_containerd_that_was_not_told_of_the_folder_is_no_proof(
    site: Isolated, scratch: Path, tmp_path: Path
) -> None:
    need("containerd", "ctr")
    node = Node(site, "containerd", scratch, tmp_path).configured()
    (tmp_path / "etc/containerd/config.toml").write_text("version = 2\n")
    mounts = f'mkdir -p /etc/containerd && mount --bind {tmp_path}/etc/containerd /etc/containerd && exec "$@"'
    node.prefix += ("unshare", "--mount", "sh", "-c", mounts, "sh")
    with pytest.raises(HostError) as caught:
        node.pulls(absent("docker.io/library/absent:1"), root="/")
    assert caught.value.reference == "runtime-not-told"


def test_a_node_without_the_program_is_named(site: Isolated, scratch: Path, tmp_path: Path) -> None:
    node = Node(site, "podman", scratch, tmp_path).configured()
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "mktemp", "id", "getent", "sed", "rm", "mkdir", "ln", "strace"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    node.prefix += (f"PATH={tools}",)
    with pytest.raises(HostError) as caught:
        node.pulls(absent("docker.io/library/absent:1"))
    assert caught.value.reference == "node-ended"
    assert caught.value.seen == "there is no podman on this node"


class TestCommand:
    """The whole of it as an operator types it."""

    @pytest.fixture
    def given(self, site: Isolated, images: list[Reference], tmp_path: Path) -> tuple[str, ...]:
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        (tmp_path / "list").write_text("# what the cluster runs\n" + "".join(f"{one}\n" for one in images))
        origins = [word for host in ORIGINS for word in ("--origin", host)]
        login = ("--ca", str(site.ca), "--user", "pull", "--password-file", str(tmp_path / "password"))
        return ("--mirror", MIRROR, *origins, *login, "--out", str(tmp_path / "node"))

    def types(self, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
        with pytest.raises(SystemExit) as ended:
            main(["mirror", "config", *words, "--json"])
        printed = capsys.readouterr()
        assert ended.value.code == code, printed
        value: dict[str, Any] = json.loads(printed.out)
        return value

    def test_writes_and_proves(
        self, runtime: str, given: tuple[str, ...], node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        on = ("--on", shlex.join(node.prefix), "--prove", str(tmp_path / "list"))
        found = self.types(capsys, runtime, *given, *on)
        assert found["kind"] == "MirrorProof"
        assert found["proven"] == len(NAMES)
        assert {one["servedBy"] for one in found["images"]} == {MIRROR}
        assert node.site.attempts == []

    def test_fails_if_one_image_fails(
        self, given: tuple[str, ...], site: Isolated, scratch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        need("podman")
        node = Node(site, "podman", scratch, tmp_path)
        with (tmp_path / "list").open("a") as file:
            file.write(f"{absent('docker.io/library/absent:1')}\n")
        on = ("--on", shlex.join(node.prefix), "--prove", str(tmp_path / "list"))
        found = self.types(capsys, "podman", *given, *on, code=7)
        assert found["error"]["reference"] == "images-unproven"
        (finding,) = found["error"]["findings"]
        assert finding["where"].startswith("docker.io/library/absent:1@sha256:")
        assert found["proven"] == len(NAMES)
