"""The registry in a container, made by registry/Containerfile from a kit: pushed to, pulled from, reloaded, ended."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundles.kit.build import build_kit
from registry.progress import Silent
from registry.server.users import user_line
from tests.authority import Authority
from tests.conftest import need, need_root
from tests.interop.registry_site import PASSWORD, USER, run, write_login
from tests.lab import images, podman
from tests.oci_samples import Image, image
from tests.registry_process import in_time

ROOT = Path(__file__).parents[2]
UID = 10001
STORE = "/var/lib/dryport/registry"
SETTINGS = "/etc/dryport/registry"
SHUT_IN = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image's name; in the build's folder lie the kit and the Containerfile that the kit brings."""
    need("podman", "skopeo", "mmdebstrap")
    need_root()
    folder, name = tmp_path_factory.mktemp("image"), f"localhost/dryport-registry-{secrets.token_hex(4)}"
    kit = build_kit(ROOT, folder, Silent()).path
    unpacked = folder.with_name("unpacked")
    shutil.unpack_archive(kit, unpacked, filter="tar")
    (containerfile,) = unpacked.glob("*/lib/registry/Containerfile")
    shutil.copy(containerfile, folder)
    arguments = ("--build-arg", f"BASE={images.ensure(images.OPERATOR)}", "--build-arg", f"KIT={kit.name}")
    podman.run("build", "--format", "docker", *arguments, "--tag", name,
               "--file", str(folder / "Containerfile"), str(folder), seconds=300)  # fmt: skip
    yield name
    podman.run("rmi", "--force", name)


@dataclass(frozen=True)
class Container:
    name: str
    image: str
    folder: Path
    port: int
    authority: Authority

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def client(self) -> tuple[str, str]:
        return "--authfile", str(self.folder / "login/config.json")

    def start(self) -> None:
        mounts = ("--volume", f"{self.folder / 'settings'}:{SETTINGS}:ro", "--volume", f"{self.name}:{STORE}")
        podman.run("run", "--detach", "--name", self.name, "--network", "host", *SHUT_IN, *mounts, self.image)
        in_time(self.is_healthy, 60)

    def is_healthy(self) -> bool:
        with suppress(podman.LabError):
            podman.run("healthcheck", "run", self.name)
            return True
        return False

    def copy(self, source: str, target: str) -> None:
        certificates = str(self.folder / "certs.d")
        run("skopeo", "copy", "--preserve-digests", *self.client, "--src-cert-dir", certificates,
            "--dest-cert-dir", certificates, source, target)  # fmt: skip

    def told(self) -> str:
        return run(*podman.PROGRAM, "logs", self.name)

    def issue(self) -> None:
        identity = self.authority.issue("127.0.0.1")
        for name, path in (("registry.pem", identity.certificate), ("registry.key", identity.key)):
            target = self.folder / "settings" / name
            shutil.move(path, target)
            os.chown(target, UID, UID)


@pytest.fixture
def container(built: str, tmp_path: Path) -> Iterator[Container]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    for folder in ("settings", "certs.d"):
        (tmp_path / folder).mkdir()
    authority = Authority(tmp_path)
    shutil.copy(authority.ca, tmp_path / "certs.d/ca.crt")
    write_login(tmp_path / "login", f"127.0.0.1:{port}", f"{USER}:{PASSWORD}")
    users = user_line(USER, PASSWORD, ["pull,push:team/*"], iterations=100_000) + "\n"
    config = f"listen: 127.0.0.1:{port}\ncertificate: registry.pem\nkey: registry.key\nusers: users\nstore: {STORE}\n"
    (tmp_path / "settings/users").write_text(users)
    (tmp_path / "settings/config.yaml").write_text(config)
    running = Container(f"dryport-test-{secrets.token_hex(4)}", built, tmp_path, port, authority)
    running.issue()
    for name in ("settings", "settings/users", "settings/config.yaml"):
        os.chown(tmp_path / name, UID, UID)
    try:
        running.start()
        yield running
    finally:
        podman.run("rm", "--force", "--time", "1", "--volumes", "--ignore", running.name)
        podman.run("volume", "rm", "--force", running.name)


def pushed(container: Container, sample: Image) -> str:
    remote = f"docker://{container.address}/team/app:1.0"
    container.copy(f"oci:{sample.write_layout(container.folder / 'layout', '1.0')}:1.0", remote)
    return remote


def is_pulled_whole(container: Container, remote: str, sample: Image, name: str) -> bool:
    target = container.folder / name
    container.copy(remote, f"oci:{target}:1.0")
    return all((target / "blobs/sha256" / one.hex).read_bytes() == data for one, data in sample.blobs.items())


def test_an_image_is_pushed_and_pulled_and_outlives_its_container(container: Container) -> None:
    sample = image()
    remote = pushed(container, sample)
    assert is_pulled_whole(container, remote, sample, "first")
    begun = time.monotonic()
    podman.run("stop", "--time", "60", container.name, seconds=90)
    assert time.monotonic() - begun < 30
    assert podman.run("inspect", "--format", "{{.State.ExitCode}}", container.name) == "0"
    podman.run("rm", container.name)
    container.start()
    assert is_pulled_whole(container, remote, sample, "second")


def test_it_is_nobodys_root_and_commands_in_it_reach_the_store(container: Container) -> None:
    pid = podman.run("inspect", "--format", "{{.State.Pid}}", container.name)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [str(UID)] * 4
    assert (int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, "1")
    pushed(container, image())
    told = podman.run("exec", container.name, "dryport", "registry", "status", "--store", STORE, "--json")
    assert [one["name"] for one in json.loads(told)["repositories"]] == ["team/app"]


def test_a_hangup_brings_the_next_certificate_into_force(container: Container) -> None:
    container.issue()
    podman.run("kill", "--signal", "HUP", container.name)
    in_time(lambda: "new connections get the certificate that is there now" in container.told())
    pushed(container, image())
    assert container.is_healthy()


def test_a_container_without_its_certificate_says_so_and_is_not_healthy(container: Container) -> None:
    podman.run("stop", container.name, seconds=90)
    (container.folder / "settings/registry.key").unlink()
    podman.run("start", container.name)
    in_time(lambda: podman.run("inspect", "--format", "{{.State.ExitCode}}", container.name) == "6")
    assert "certificate-unusable" in container.told()
    assert not container.is_healthy()


def test_nothing_of_a_site_is_in_the_image(built: str) -> None:
    (about,) = json.loads(podman.run("image", "inspect", built))
    settings = about["Config"]
    assert (settings["User"], list(settings["Volumes"])) == (f"{UID}:{UID}", [STORE])
    assert list(settings["ExposedPorts"]) == ["5000/tcp"]
    assert about["Healthcheck"]["Test"][-2:] == ["registry", "ready"]
    look = (
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "/usr/bin/find",
        built,
        STORE,
        SETTINGS,
        "-mindepth",
        "1",
    )
    assert podman.run(*look) == ""
