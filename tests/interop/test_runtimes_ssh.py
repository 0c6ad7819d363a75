"""The proof on a host of a site, reached by SSH under its pinned key, with what is configured there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.hosts import enrol
from installer.targets.base import Host
from registry.oci.reference import Reference
from tests.conftest import absent, need
from tests.interop.isolated import MIRROR, Isolated
from tests.interop.mirrored import ORIGINS, write
from tests.interop.test_site_ssh import key_pair
from tests.lab.debian import DebianError, unpacked
from tests.site_samples import Sample, sample

PORT = 2222
SITE = f"""\
apiVersion: dryport/v1
kind: Site
name: alpha
domain: alpha.example
target: baremetal
home: home
hosts:
  - {{name: n1, address: 127.0.0.1, port: {PORT}, key: user}}
"""
NODE = """
mount --bind "$1/etc/containers" /etc/containers
mount -t tmpfs tmpfs /root && cp -a "$1/root/." /root/
grep -v ^sshd: /etc/passwd > "$1/passwd" && echo sshd:x:101:65534::/run/sshd:/usr/sbin/nologin >> "$1/passwd"
mount --bind "$1/passwd" /etc/passwd
mkdir -p /run/sshd && exec env LD_LIBRARY_PATH="$3/usr/lib/x86_64-linux-gnu" "$3/usr/sbin/sshd" -D -e -f "$2"
"""


def packages() -> Path:
    """Return where sshd and the library that it wants lie: this machine may have no server."""
    try:
        return unpacked("openssh-server", "libwrap0")
    except DebianError as error:
        absent(str(error))
        raise


@pytest.fixture
def site(mirror: Isolated, tmp_path: Path) -> Iterator[Sample]:
    """A site with one host: a machine beside the mirror, on which podman is configured for it."""
    need("ssh", "ssh-keygen", "podman")
    (mirror.folder / "attempts").write_text("")
    host_key, user_key = key_pair(tmp_path / "host"), key_pair(tmp_path / "user")
    write(mirror, "podman", tmp_path / "node")
    policy = Path("/etc/containers/policy.json")
    (tmp_path / "node/etc/containers/policy.json").write_bytes(policy.read_bytes())
    config = tmp_path / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {PORT}\nHostKey {host_key}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {user_key}.pub\nPasswordAuthentication no\n"
    )
    made = sample(tmp_path, SITE)
    kind, key = Path(f"{host_key}.pub").read_text().split()[:2]
    made.home.known_hosts.write_text(f"[127.0.0.1]:{PORT} {kind} {key}\n")
    node = (
        *mirror.prefix,
        "unshare",
        "--mount",
        "sh",
        "-ec",
        NODE,
        "sh",
        str(tmp_path / "node"),
        str(config),
        str(packages()),
    )
    with (tmp_path / "sshd.log").open("wb") as log:
        server = subprocess.Popen(node, stdin=subprocess.DEVNULL, stderr=log)
    try:
        for _ in range(100):
            if b"Server listening" in (tmp_path / "sshd.log").read_bytes():
                break
            time.sleep(0.05)
        yield made
    finally:
        server.terminate()
        server.wait(10)


def test_every_image_is_pulled_on_the_host_with_what_is_installed_there(
    site: Sample, mirror: Isolated, mirrored: tuple[Path, list[Reference]], tmp_path: Path
) -> None:
    (host,) = (Host("n1", "127.0.0.1", PORT, "root", tmp_path / "user"),)
    assert enrol.pinned(host, site.home.known_hosts)
    (tmp_path / "list").write_text("".join(f"{one}\n" for one in mirrored[1]))
    origins = [word for one in ORIGINS for word in ("--origin", one)]
    main = "from installer.cli.main import main; main()"
    command = (sys.executable, "-c", main, "mirror", "config", "podman", "--mirror", MIRROR, *origins)
    proof = ("--prove", tmp_path / "list", "--site", site.declared.path, "--host", "n1", "--json")
    done = mirror.run(*command, *proof)
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    assert found["node"] == f"n1 ([127.0.0.1]:{PORT})"
    assert found["proven"] == len(mirrored[1])
    assert mirror.attempts == []


def test_a_host_with_another_key_is_not_entered(site: Sample, mirror: Isolated, tmp_path: Path) -> None:
    other = key_pair(tmp_path / "other")
    kind, key = Path(f"{other}.pub").read_text().split()[:2]
    site.home.known_hosts.write_text(f"[127.0.0.1]:{PORT} {kind} {key}\n")
    (tmp_path / "list").write_text(f"docker.io/library/x@sha256:{'0' * 64}\n")
    main = "from installer.cli.main import main; main()"
    command = (sys.executable, "-c", main, "mirror", "config", "podman", "--mirror", MIRROR, "--origin", "docker.io")
    proof = ("--prove", tmp_path / "list", "--site", site.declared.path, "--host", "n1", "--json")
    done = mirror.run(*command, *proof)
    assert done.returncode == 7
    assert json.loads(done.stdout)["reference"] == "host-key-changed"
