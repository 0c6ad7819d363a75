"""The unit that `registry unit` prints: judged by systemd, and run by it on a machine with a kit alone."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundles.kit.build import build_kit
from registry.progress import Silent
from registry.server.users import user_line
from tests.authority import Authority
from tests.conftest import need, need_root
from tests.interop.registry_site import run
from tests.lab import images, podman
from tests.lab.images import CLEAN, HOST, Recipe
from tests.registry_process import COMMAND, in_time

ROOT = Path(__file__).parents[2]
EXPOSURE = 20
"""The most, in tenths, that systemd may judge the service to be exposed; "OK" begins at 50."""
MACHINE = Recipe(
    name="service",
    packages=("systemd", "systemd-sysv", "dbus", "python3"),
    hooks=(CLEAN, HOST.hooks[-1]),
    changes=HOST.changes,
)
CONFIG = "listen: 0.0.0.0:443\nworkers: 2\ncertificate: tls.pem\nkey: tls.key\nusers: users\n"
STORE = "/var/lib/dryport/registry"
SETTINGS = "/etc/dryport/registry"
PAGE = (ROOT / "docs/registry.md").read_text()
PREPARE, START = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[:2]
FILES = f"install -o root -g dryport-registry -m 0640 /given/config.yaml /given/tls.* /given/users {SETTINGS}"


def written(folder: Path, config: str, name: str) -> Path:
    """Write a configuration and the unit for it, which starts the dryport of this environment."""
    place = folder / name
    place.mkdir()
    (place / "config.yaml").write_text(config)
    program = str(Path(sys.executable).with_name("dryport"))
    unit = run(*COMMAND, "registry", "unit", "--config", str(place / "config.yaml"), "--program", program)
    (place / "dryport-registry.service").write_text(unit)
    return place / "dryport-registry.service"


@pytest.mark.parametrize("name", ["etc", "with a space", '100 % of "it" for $5'])
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path, name: str) -> None:
    need("systemd-analyze")
    path = written(tmp_path, f"{CONFIG}store: a store\naccess: {STORE}/x\n", name)
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_judges_it_well_shut_in(tmp_path: Path) -> None:
    need("systemd-analyze")
    path = written(tmp_path, f"{CONFIG}store: {STORE}\n", "etc")
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


@dataclass(frozen=True)
class Machine:
    name: str

    def types(self, script: str, expected: int = 0) -> str:
        done = podman.inside(
            self.name, "/bin/sh", "-c", script, settings={"PATH": "/usr/local/bin:/usr/bin:/usr/sbin"}, seconds=120
        )
        assert done.returncode == expected, f"{script}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def shows(self, name: str) -> str:
        return self.types(f"systemctl show -P {name} dryport-registry").strip()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with systemd and Python, the kit unpacked, and the unit installed as docs/registry.md says."""
    need("podman", "mmdebstrap")
    need_root()
    folder = tmp_path_factory.mktemp("machine")
    given = folder / "given"
    build_kit(ROOT, given, Silent())
    identity = Authority(folder).issue("registry.example.org")
    shutil.copy(identity.certificate, given / "tls.pem")
    shutil.copy(identity.key, given / "tls.key")
    (given / "users").write_text(user_line("ann", "pw", ["pull:*"], iterations=100_000) + "\n")
    (given / "config.yaml").write_text(f"{CONFIG}store: {STORE}\n")
    name = f"dryport-test-{secrets.token_hex(4)}"
    try:
        podman.run("run", "--detach", "--name", name, "--network", "none", "--systemd=always",
                   "--volume", f"{given}:/given:ro", images.ensure(MACHINE))  # fmt: skip
        found = Machine(name)
        in_time(lambda: podman.inside(name, "/usr/bin/systemctl", "is-system-running").stdout == "running\n", 60)
        found.types(f"set -e\ncd /given\n{PREPARE}{FILES}\n{START}")
        yield found
    finally:
        podman.run("rm", "--force", "--time", "1", "--volumes", "--ignore", name)


def test_it_is_started_when_it_serves_under_a_user_without_rights(machine: Machine) -> None:
    assert "ready" in START.splitlines()[-1]  # it was, with no wait in between
    pid = machine.shows("MainPID")
    status = machine.types(f"cat /proc/{pid}/status")
    assert machine.types(f"stat -c %U /proc/{pid}") == "dryport-registry\n"
    assert "CapEff:\t0000000000000400\n" in status  # CAP_NET_BIND_SERVICE, for port 443
    assert "NoNewPrivs:\t1\n" in status
    assert "Seccomp:\t2\n" in status
    assert machine.types(f"stat -c '%a %U' {STORE}") == "700 dryport-registry\n"


def test_a_reload_keeps_the_processes_and_a_bad_one_is_refused_in_words(machine: Machine) -> None:
    machine.types("systemctl start dryport-registry")
    pid = machine.shows("MainPID")
    machine.types("systemctl reload dryport-registry")
    in_time(lambda: "new connections get" in machine.types("journalctl -u dryport-registry"))
    machine.types(f"mv {SETTINGS}/tls.key {SETTINGS}/away; systemctl reload dryport-registry", expected=1)
    assert "certificate-unusable" in machine.types("journalctl -u dryport-registry")
    machine.types(f"dryport registry ready && mv {SETTINGS}/away {SETTINGS}/tls.key")
    machine.types("systemctl reload dryport-registry")
    assert machine.shows("MainPID") == pid


def test_a_stop_is_quick_and_clean(machine: Machine) -> None:
    machine.types("systemctl start dryport-registry")
    begun = time.monotonic()
    machine.types("systemctl stop dryport-registry")
    assert time.monotonic() - begun < 25
    assert (machine.shows("Result"), machine.shows("ExecMainStatus")) == ("success", "0")


def test_it_comes_back_after_it_was_killed_and_no_process_of_the_old_one_is_left(machine: Machine) -> None:
    machine.types("systemctl start dryport-registry")
    before = machine.shows("MainPID")
    old = machine.types(f"cat /proc/{before}/task/{before}/children").split()
    machine.types("systemctl kill --kill-whom=main --signal=KILL dryport-registry")
    in_time(lambda: machine.shows("MainPID") not in {before, "0"} and machine.shows("ActiveState") == "active", 90)
    machine.types("dryport registry ready")
    assert len(old) == 2
    assert machine.types(f"ls -d {' '.join(f'/proc/{one}' for one in old)} 2>/dev/null || true") == ""


def test_a_configuration_that_cannot_be_fails_the_start(machine: Machine) -> None:
    machine.types("systemctl stop dryport-registry")
    machine.types(f"echo 'stores: x' >> {SETTINGS}/config.yaml; systemctl start dryport-registry", expected=1)
    assert "config-field" in machine.types("journalctl -u dryport-registry")
    machine.types(f"sed -i /stores/d {SETTINGS}/config.yaml; systemctl stop dryport-registry")
    machine.types("systemctl start dryport-registry; dryport registry ready")
