"""What every other lab test leans on: hosts are reached under their own key, by nobody else, and vanish afterwards."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab import desk, hosts, podman

pytestmark = pytest.mark.lab
NOWHERE = "192.0.2.1"  # TEST-NET-1: no machine has it


def ssh(lab: hosts.Lab, known: Path, *command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    options = ["-F", "none", "-i", str(lab.key), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    pinned = ["-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes"]
    call = ["ssh", *options, *pinned, f"{user}@{lab.hosts[0].address}", *command]
    return subprocess.run(call, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def known(lab: hosts.Lab, tmp_path: Path) -> Path:
    pinned = tmp_path / "known_hosts"
    pinned.write_text("".join(f"{host.address} {host.public_key}\n" for host in lab.hosts))
    return pinned


@pytest.mark.parametrize("user", ["root", "ops"])
def test_a_host_runs_systemd_and_answers_under_its_pinned_key(lab: hosts.Lab, known: Path, user: str):
    answer = ssh(lab, known, "sudo -n systemctl is-system-running --wait", user=user)
    assert answer.stdout.strip() == "running", answer.stderr


def test_a_host_has_neither_python_nor_a_package_source_at_first(lab: hosts.Lab, known: Path):
    answer = ssh(lab, known, "command -v python3; cat /etc/apt/sources.list.d/*; cat /etc/apt/sources.list; true")
    assert answer.stdout == ""


def test_a_host_with_another_key_is_not_spoken_to(lab: hosts.Lab, tmp_path: Path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True, timeout=10)
    forged = tmp_path / "known_hosts"
    forged.write_text(f"{lab.hosts[0].address} {(tmp_path / 'other.pub').read_text()}")
    answer = ssh(lab, forged, "true")
    assert answer.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in answer.stderr


def test_a_host_has_no_route_out(lab: hosts.Lab, known: Path):
    began = time.monotonic()
    answer = ssh(lab, known, f"bash -c 'echo > /dev/tcp/{NOWHERE}/443'")
    assert "Network is unreachable" in answer.stderr
    assert time.monotonic() - began < 5, "a refusal that comes late is a route that leads somewhere"


def test_the_operators_machine_holds_what_was_carried_in_and_cannot_change_it(lab: hosts.Lab, tmp_path: Path):
    (tmp_path / "bundle.tar").write_bytes(b"carried")
    desk.up(lab.name, lab.key.parent, [tmp_path / "bundle.tar"])
    assert desk.run(lab.name, "cat", "/media/bundle.tar").stdout == "carried"
    assert "Read-only file system" in desk.run(lab.name, "sh", "-c", "echo no > /media/bundle.tar").stderr
    assert desk.run(lab.name, "env").stdout.split("\n")[:-1] == [
        f"{key}={value}" for key, value in desk.SETTINGS.items()
    ]
    reached = desk.run(lab.name, "ssh-keyscan", "-T", "5", "-t", "ed25519", lab.hosts[0].address)
    assert lab.hosts[0].public_key in reached.stdout
    probe = f"import socket; socket.create_connection(('{NOWHERE}', 443), 5)"
    assert "Network is unreachable" in desk.run(lab.name, "python3", "-c", probe).stderr


def test_after_down_nothing_is_left_and_down_may_be_repeated(lab_name: str, lab: hosts.Lab, tmp_path: Path):
    second, state = f"{lab_name}-b", tmp_path / "state"
    other = hosts.up(second, 1, state)
    assert other.network.subnet != lab.network.subnet
    assert json.loads((state / "fingerprints.json").read_text()) == {"h1": other.hosts[0].fingerprint}
    hosts.down(second, state)
    hosts.down(second, state)
    assert hosts.containers(second) == []
    assert second not in podman.run("network", "ls", "--format", "{{.Name}}").split()
    links = subprocess.run(["ip", "-brief", "link"], check=True, capture_output=True, text=True, timeout=10).stdout
    assert other.network.bridge not in [line.split()[0] for line in links.splitlines()]
    assert not state.exists()
    assert hosts.containers(lab_name), "the neighbour still runs"
