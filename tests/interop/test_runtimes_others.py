"""Further programs read what was made for them: the reader of k3s and RKE2, containerd 2, Docker."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from installer.flows.prove import prove
from installer.hosts.node import LocalNode
from installer.hosts.pull import PULLERS
from registry.mirror import declared
from registry.oci.reference import Reference
from registry.progress import Silent
from registry.store.store import Store
from tests.conftest import absent, need_root
from tests.interop.isolated import MIRROR, Isolated, isolated
from tests.interop.mirrored import MAPPING, NAMES, fill, write
from tests.interop.registry_site import foreign
from tests.lab.debian import DebianError, unpacked


@pytest.fixture
def images(mirrored: tuple[Path, list[Reference]]) -> list[Reference]:
    return mirrored[1]


@pytest.fixture(autouse=True)
def site(mirror: Isolated) -> Isolated:
    """The isolated mirror; what a test before this one tried is not this one's."""
    (mirror.folder / "attempts").write_text("")
    return mirror


def registries_yaml(site: Isolated, runtime: str, root: Path) -> Path:
    """Write it, with the CA where it lies for this test."""
    write(site, runtime, root)
    conf = root / f"etc/rancher/{runtime}/registries.yaml"
    conf.write_text(conf.read_text().replace(f"/etc/rancher/{runtime}", str(conf.parent)))
    return conf


@pytest.mark.parametrize("runtime", ["k3s", "rke2"])
def test_the_reader_of_registries_yaml_pulls_by_original_names(
    runtime: str, site: Isolated, images: list[Reference], tmp_path: Path
) -> None:
    wharfie, conf = foreign("wharfie"), registries_yaml(site, runtime, tmp_path)
    for number, image in enumerate(images):
        target = tmp_path / f"image{number}"
        name = f"{image.host}/{image.repository}@{image.digest}"
        done = site.run(wharfie, "--private-registry", conf, name, target)
        assert done.returncode == 0, done.stderr
        assert (target / "hello.txt").read_text() == f"image {number}\n"
    assert site.attempts == []


def test_the_reader_of_registries_yaml_finds_nothing_of_other_registries(site: Isolated, tmp_path: Path) -> None:
    wharfie, conf = foreign("wharfie"), registries_yaml(site, "k3s", tmp_path)
    done = site.run(wharfie, "--debug", "--private-registry", conf, "quay.io/library/x:1", tmp_path / "image")
    assert done.returncode != 0
    tried = [line for line in done.stderr.splitlines() if "Trying endpoint" in line]
    assert f"https://{MIRROR}/v2/_not-mirrored" in tried[0]
    assert len(tried) == 2, (
        "this reader always tries the upstream last; k3s and RKE2 do not once they are told by a flag"
    )


def test_containerd_2_pulls_what_the_configuration_for_1_and_2_says(
    site: Isolated, images: list[Reference], tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("containerd", "ctr"):
        (tools / name).symlink_to(foreign(f"{name}2"))
    write(site, "containerd", tmp_path / "node")
    with tempfile.TemporaryDirectory(prefix="dp-") as short:
        node = LocalNode((*site.prefix, "env", f"PATH={tools}:{os.environ['PATH']}", f"TMPDIR={short}"))
        missing = Reference.parse(f"docker.io/library/absent@sha256:{'0' * 64}")
        unknown = Reference.parse(f"quay.io/library/x@sha256:{'0' * 64}")
        outcomes = prove(
            node, PULLERS["containerd"], [*images, missing, unknown], MAPPING, Silent(), root=str(tmp_path / "node")
        )
    assert [one.said for one in outcomes[:3] if not one.is_proven] == []
    assert [(one.is_pulled, one.elsewhere) for one in outcomes[3:]] == [(False, ())] * 2
    assert site.attempts == []


@dataclass(frozen=True)
class Daemon:
    """A Docker daemon beside a mirror."""

    site: Isolated
    client: Path
    socket: Path
    login: Path

    def pull(self, name: str) -> subprocess.CompletedProcess[str]:
        (self.site.folder / "attempts").write_text("")
        return self.site.run(
            self.client, "--host", f"unix://{self.socket}", "pull", name, DOCKER_CONFIG=str(self.login)
        )

    def is_alone(self) -> bool:
        """Say whether it connected to nobody; it looks names up, to see whether an address counts as insecure."""
        return set(self.site.attempts) <= {"name docker.io", "name ghcr.io", "name quay.io"}


def debians_docker() -> Path:
    """Return where Debian's Docker lies unpacked."""
    try:
        return unpacked("docker.io")
    except DebianError as error:
        absent(str(error))
        raise


@contextmanager
def dockerd(site: Isolated, node: Path, tools: str, *options: str) -> Iterator[Daemon]:
    """Run the first Docker daemon in `tools`, with a node's configuration, certificates and environment of the unit."""
    unit = (node / "etc/systemd/system/docker.service.d/dryport-mirror.conf").read_text()
    (line,) = re.findall(r"^Environment=(.*)$", unit, re.MULTILINE)
    mount = f'mkdir -p /etc/docker && mount --bind {node}/etc/docker /etc/docker && exec "$@"'
    with tempfile.TemporaryDirectory(prefix="dp-") as short:
        socket = Path(short) / "docker.sock"
        command = [
            *(*site.prefix, "env", f"PATH={tools}:{os.environ['PATH']}", *shlex.split(line)),
            *("unshare", "--mount", "sh", "-c", mount, "sh", "dockerd", "--host", f"unix://{socket}"),
            *("--data-root", f"{short}/data", "--exec-root", f"{short}/exec", "--pidfile", f"{short}/pid"),
            *("--iptables=false", "--ip6tables=false", "--bridge=none", "--userland-proxy=false", *options),
        ]
        with (Path(short) / "log").open("wb") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            for _ in range(300):
                if socket.exists() or daemon.poll() is not None:
                    break
                time.sleep(0.1)
            if daemon.poll() is not None:
                absent(f"dockerd does not run here: {(Path(short) / 'log').read_text()[-600:]}")
            yield Daemon(site, debians_docker() / "usr/bin/docker", socket, node / "root/.docker")
        finally:
            daemon.terminate()
            daemon.wait(30)


@pytest.fixture(scope="module")
def docker(mirror: Isolated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Docker 29 with containerd's image store."""
    folder = tmp_path_factory.mktemp("docker")
    for name in ("dockerd", "containerd", "ctr"):
        (folder / name).symlink_to(foreign(f"{name}2"))
    write(mirror, "docker", folder / "node")
    options = ("--feature", "containerd-snapshotter=true", "--storage-driver", "native")
    with dockerd(mirror, folder / "node", str(folder), *options) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def old_docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Docker of the old kind, and a mirror from which everybody may pull, with Docker Hub at its root."""
    need_root()
    tools = f"{debians_docker()}/usr/sbin:{debians_docker()}/usr/bin"
    folder, rooted = tmp_path_factory.mktemp("old"), declared.of((MIRROR,), ("docker.io=", "ghcr.io"))
    with Store.open(folder / "store") as store:
        fill(store, rooted, NAMES[:2])
    with isolated(folder, folder / "store", everybody=True) as site:
        write(site, "docker", folder / "node", rooted)
        with dockerd(site, folder / "node", tools, "--storage-driver", "vfs") as daemon:
            yield daemon


@pytest.mark.parametrize("name", NAMES)
def test_docker_29_pulls_every_origins_content_by_its_name_and_with_the_login(docker: Daemon, name: str) -> None:
    done = docker.pull(name)
    assert done.returncode == 0, done.stderr
    assert set(docker.site.attempts) <= {f"name {name.partition('/')[0].partition(':')[0]}"}


@pytest.mark.parametrize("name", ["absent:1", "ghcr.io/team/absent:2", "quay.io/team/x:1"])
def test_docker_29_reaches_nobody_but_the_mirror(docker: Daemon, name: str) -> None:
    done = docker.pull(name)
    assert done.returncode != 0
    assert "not found" in done.stderr or f"https://{MIRROR}/v2/_not-mirrored/" in done.stderr
    assert docker.is_alone()


@pytest.mark.parametrize("name", ["x:1", "docker.io/library/x:1", f"{MIRROR}/ghcr.io/team/app:2"])
def test_an_old_docker_pulls_docker_hubs_content_by_its_name_and_other_by_the_mirrors(
    old_docker: Daemon, name: str
) -> None:
    done = old_docker.pull(name)
    assert done.returncode == 0, done.stderr
    assert old_docker.is_alone()


@pytest.mark.parametrize("name", ["absent:1", "ghcr.io/team/app:2", "quay.io/team/x:1"])
def test_an_old_docker_reaches_nobody_but_the_mirror(old_docker: Daemon, name: str) -> None:
    done = old_docker.pull(name)
    assert done.returncode != 0
    assert "proxyconnect tcp: dial tcp 127.0.0.1:9: connect: connection refused" in done.stderr
    assert old_docker.is_alone()
