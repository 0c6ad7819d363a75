"""Hosts h1 to hN: systemd containers with sshd on a network without a route out.

Each host's key is made before it starts, so its fingerprint is known as one would read it at a console, and SSH is
pinned from the first contact. Nothing here writes a known_hosts file: that is for what is under test to do.

    python -m tests.lab.hosts up --name try --count 2 --state DIR
    python -m tests.lab.hosts down --name try --state DIR          may be repeated

State: `id` and `id.pub` (the operator's SSH key), `h1.hostkey` and so on, `fingerprints.json`, `lab.json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.lab import images, network, podman


@dataclass(frozen=True, slots=True)
class Host:
    """One host; `fingerprint` is its SSH host key's, `public_key` the line for a known_hosts file."""

    name: str
    address: str
    fingerprint: str
    public_key: str
    container: str


@dataclass(frozen=True, slots=True)
class Lab:
    """A running lab: its hosts, the operator's SSH key, and this machine's address on their network."""

    name: str
    network: network.Network
    hosts: tuple[Host, ...]
    key: Path


def up(name: str, count: int, state: Path) -> Lab:
    """Raise `count` hosts that answer SSH. Raises LabError; then whatever was made is removed again."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    image = images.ensure(images.HOST)
    try:
        net = network.create(name)
        key = _key_pair(state / "id", "operator")
        hosts = tuple(_start(net, image, place, key, state) for place in range(1, count + 1))
        network.reach(net)
        for host in hosts:
            podman.within(30, partial(_is_up, host), f"sshd and systemd of {host.name}")
    except BaseException:
        down(name, None)
        raise
    lab = Lab(name, net, hosts, key)
    _write(state, lab)
    return lab


def down(name: str, state: Path | None) -> None:
    """Remove the lab's containers, network and state, and make sure that nothing is left. Raises LabError."""
    for tries_left in (1, 0):
        if running := containers(name):
            try:
                podman.run("rm", "--force", "--time", "1", "--volumes", *running)
            except podman.LabError:
                # A host that stops by itself just as podman turns to SIGKILL makes rm fail; the second one succeeds.
                if not tries_left:
                    raise
    network.remove(name)
    if left := [*containers(name), *network.names(name)]:
        raise podman.LabError(f"still there after removal: {', '.join(left)}")
    if state is not None and state.exists():
        shutil.rmtree(state)


@contextmanager
def raised(name: str, count: int, state: Path) -> Iterator[Lab]:
    """Give a lab and take it down at the end."""
    try:
        yield up(name, count, state)
    finally:
        down(name, state)


def containers(name: str) -> list[str]:
    """Return the names of the lab's containers, also of those that do not run."""
    return podman.run("ps", "--all", "--filter", f"label={podman.LABEL}={name}", "--format", "{{.Names}}").split()


def _start(net: network.Network, image: str, place: int, key: Path, state: Path) -> Host:
    name, address = f"h{place}", net.address(place)
    host_key = _key_pair(state / f"{name}.hostkey", name)
    mounts = {
        f"{key}.pub": ("/root/.ssh/authorized_keys", "/home/ops/.ssh/authorized_keys"),
        str(host_key): ("/etc/ssh/ssh_host_ed25519_key",),
        f"{host_key}.pub": ("/etc/ssh/ssh_host_ed25519_key.pub",),
    }
    volumes = [part for at, places in mounts.items() for inner in places for part in ("--volume", f"{at}:{inner}:ro")]
    container = f"{net.name}-{name}"
    podman.run(
        *("run", "--detach", "--name", container, "--hostname", name, "--label", f"{podman.LABEL}={net.name}"),
        *("--network", net.name, "--ip", address, "--dns", "none", "--systemd=always", *volumes, image),
    )
    public_key = " ".join(host_key.with_suffix(".hostkey.pub").read_text().split()[:2])
    return Host(name, address, _fingerprint(host_key), public_key, container)


def _key_pair(path: Path, comment: str) -> Path:
    if not path.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
        subprocess.run(command, check=True, timeout=10, stdin=subprocess.DEVNULL)
    return path


def _fingerprint(key: Path) -> str:
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", f"{key}.pub"], check=True, timeout=10, capture_output=True, text=True
    )
    return listed.stdout.split()[1]


def _is_up(host: Host) -> bool:
    # A banner alone is too early: until this unit has run, sshd turns ordinary users away.
    try:
        with socket.create_connection((host.address, 22), timeout=2) as connection:
            is_listening = connection.recv(4) == b"SSH-"
    except OSError:
        return False
    asked = ("/usr/bin/systemctl", "is-active", "--quiet", "systemd-user-sessions.service")
    return is_listening and podman.inside(host.container, *asked).returncode == 0


def _write(state: Path, lab: Lab) -> None:
    fingerprints = {host.name: host.fingerprint for host in lab.hosts}
    (state / "fingerprints.json").write_text(json.dumps(fingerprints, indent=2) + "\n")
    told = {
        "name": lab.name,
        "subnet": str(lab.network.subnet),
        "gateway": lab.network.gateway,
        "operator": lab.network.address(90),
        "hosts": {host.name: host.address for host in lab.hosts},
    }
    (state / "lab.json").write_text(json.dumps(told, indent=2) + "\n")


def main() -> None:
    """Raise or remove a lab from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.hosts", description="Raise or remove lab hosts.")
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("--name", required=True, help="name of this lab; others of the machine have other names")
    parser.add_argument("--count", type=int, default=1, help="how many hosts (up)")
    parser.add_argument("--state", type=Path, required=True, help="folder for keys, addresses and fingerprints")
    given = parser.parse_args()
    if given.verb == "down":
        down(given.name, given.state)
        return
    for host in up(given.name, given.count, given.state).hosts:
        print(host.name, host.address, host.fingerprint)


if __name__ == "__main__":
    main()
