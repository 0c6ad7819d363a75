"""The whole way behind the gap, by the command line: from a signed bundle to a running site on a bare host.

One site lives through the module as a real one would: it is killed in the middle of an apply, runs out of disk, goes
on, and is looked at when all is well. What an operator types is what runs; every result is read from `--json`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import hosts, podman
from tests.lab.release import DEFINITION, PACK, PROJECT

pytestmark = pytest.mark.lab
DRYPORT = str(Path(sys.executable).with_name("dryport"))
STORE = "/var/lib/dryport"


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left."""

    code: int
    value: Any
    said: str


def dryport(*words: object, code: int = 0) -> Done:
    """Run dryport as an operator does."""
    done = subprocess.run([DRYPORT, *map(str, words), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return Done(done.returncode, json.loads(done.stdout), done.stdout + done.stderr)


@dataclass(frozen=True, slots=True)
class Medium:
    """What crossed the gap, and the fingerprint that came on paper."""

    bundle: Path
    fingerprint: str


@pytest.fixture(scope="module")
def medium(lab: hosts.Lab, tmp_path_factory: pytest.TempPathFactory) -> Medium:  # noqa: ARG001 - skips without a lab
    """A signed bundle of kit, playbooks, packages and one pack, made by the command line."""
    folder = tmp_path_factory.mktemp("connected side")
    (folder / "pack").mkdir()
    (folder / "pack/pack.json").write_text(json.dumps(PACK))
    (folder / "pack/values.yaml").write_text("pack:\n  namespace: hello\n")
    definition = folder / "bundle.yaml"
    definition.write_text(yaml.safe_dump(DEFINITION | {"playbooks": {"folder": {"input": "playbooks"}}}))
    dryport("kit", "build", "--out", folder / "kit")
    kit = next((folder / "kit").glob("*.tar"))
    inputs = ("--input", f"kit={kit}", "--input", f"playbooks={PROJECT / 'playbooks'}")
    bundle, root = folder / "b.tar", folder / "1.root.json"
    dryport("bundle", "lock", definition, *inputs)
    dryport("bundle", "build", definition, "--out", bundle, *inputs)
    for name in ("anna", "release"):
        dryport("key", "new", name, "--out", folder)
    keys = ("--root", folder / "anna.pub", "--threshold", 1, "--release", folder / "release.pub", "--expires", 30)
    dryport("key", "init", *keys, "--out", root)
    dryport("key", "sign-root", root, "--key", folder / "anna.pem")
    best_before = (datetime.now(UTC) + timedelta(days=20)).date().isoformat()
    dryport(
        *("bundle", "sign", bundle, "--root", root, "--key", folder / "release.pem", "--sequence", 1),
        *("--best-before", best_before),
    )
    return Medium(bundle, dryport("key", "show", root).value["fingerprint"])


@dataclass(frozen=True, slots=True)
class Site:
    """A declared site on the lab's first host."""

    file: Path
    machine: hosts.Host
    medium: Medium

    @property
    def home(self) -> Path:
        return self.file.parent / "home"

    def plan(self) -> tuple[Path, Any]:
        """Plan; return the file and what was told."""
        path = self.file.parent / f"plan-{time.monotonic_ns()}.json"
        return path, dryport("plan", self.file, "--bundle", self.medium.bundle, "--out", path).value

    def apply(self, plan: Path, code: int = 0) -> Done:
        return dryport("apply", plan, "--bundle", self.medium.bundle, code=code)

    def events(self, event: str) -> list[Any]:
        lines = (self.home / "journal.jsonl").read_text().splitlines()
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]


@pytest.fixture(scope="module")
def site(lab: hosts.Lab, medium: Medium, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that trusts the root and has its host enrolled; its folder has a space in its name."""
    machine = lab.hosts[0]
    file = tmp_path_factory.mktemp("isolated side") / "site.yaml"
    declared = {
        "apiVersion": "dryport/v1",
        "kind": "Site",
        "name": "lab",
        "domain": "lab.example",
        "target": "baremetal",
        "home": "home",
        "hosts": [{"name": machine.name, "address": machine.address, "key": str(lab.key)}],
    }
    file.write_text(yaml.safe_dump(declared))
    assert dryport("site", "init", file).value["changed"]
    assert not dryport("site", "init", file).value["changed"]
    trust = ("site", "trust", file, "--bundle", medium.bundle, "--fingerprint")
    assert dryport(*trust, f"sha256:{'0' * 64}", code=5).value["reference"] == "root-fingerprint-mismatch"
    dryport(*trust, medium.fingerprint)
    assert dryport("site", "check", file, code=7).value["error"]["reference"] == "host-not-enrolled"
    assert dryport("site", "enrol", file, code=7).value["error"]["reference"] == "host-key-unconfirmed"
    dryport("site", "enrol", file, "--fingerprint", f"{machine.name}={machine.fingerprint}")
    assert dryport("site", "check", file, "--bundle", medium.bundle).value["good"]
    return Site(file, machine, medium)


@contextmanager
def little_room(machine: hosts.Host) -> Iterator[None]:
    """Give the registry's folder on the host no more than 16 MiB for a while, then as much as it wants."""
    pid = podman.run("inspect", "--format", "{{.State.Pid}}", machine.container).strip()
    inside = ["nsenter", "--target", pid, "--mount", "--pid"]
    subprocess.run([*inside, "mkdir", "-p", STORE], check=True)
    subprocess.run([*inside, "mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", STORE], check=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "mount", "-o", "remount,size=2g", STORE], check=True)


def kill_at(site: Site, plan: Path, step: str) -> None:
    """Begin an apply and kill it, hard, while a step runs."""
    words = [DRYPORT, "apply", str(plan), "--bundle", str(site.medium.bundle)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    podman.within(300, lambda: any(step in entry["step"] for entry in site.events("step-begin")), step)
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def applied(site: Site) -> dict[str, Any]:
    """The end of an apply that was killed once and ran out of disk once; always the same plan."""
    plan, told = site.plan()
    assert not told["plan"]["nothing_to_change"]
    kill_at(site, plan, "packages-install")
    assert dryport("status", site.file).value["unfinishedPlan"] == told["digest"]
    with little_room(site.machine):
        full = site.apply(plan, code=7)
    assert (full.value["reference"], full.value["family"]) == ("host-disk-full", "host")
    assert "registry configure" in full.value["where"]
    end: dict[str, Any] = site.apply(plan).value
    return end


def test_an_apply_that_was_killed_and_ran_out_of_disk_goes_on_and_ends(site: Site, applied: dict[str, Any]):
    assert applied["skipped"] > 0
    installs = [entry["step"] for entry in site.events("step-end") if entry["details"]["ok"]]
    done_once = [step for step in set(installs) if "-install-" in step or "-configure-" in step]
    assert {step: installs.count(step) for step in done_once if installs.count(step) > 1} == {}
    assert len(site.events("apply-end")) == 1


def test_the_site_runs_what_the_plan_said(site: Site, applied: dict[str, Any]):
    status = dryport("status", site.file).value
    assert status["well"]
    assert status["unfinishedPlan"] == ""
    held = status["release"]
    assert (held["product"], held["sequence"], held["packs"]) == ("lab", 1, ["lab-hello:1.0.0"])
    assert held["version"] == applied["version"]
    assert [(one["host"], one["ready"]) for one in status["registries"]] == [(site.machine.name, True)]


def test_a_second_plan_and_apply_change_nothing(site: Site, applied: dict[str, Any]):  # noqa: ARG001
    plan, told = site.plan()
    assert told["plan"]["nothing_to_change"]
    again = site.apply(plan).value
    assert (again["changed"], again["skipped"], again["steps"]) == (0, 0, len(told["plan"]["steps"]))


def test_a_plan_from_before_something_changed_is_stale(site: Site, applied: dict[str, Any]):  # noqa: ARG001
    plan, _ = site.plan()
    text = site.file.read_text()
    site.file.write_text(f"{text}policy: {{clock_skew_seconds: 61}}\n")
    try:
        assert site.apply(plan, code=6).value["reference"] == "plan-stale"
    finally:
        site.file.write_text(text)


def test_a_host_that_does_not_answer_is_named_by_every_command(site: Site, applied: dict[str, Any]):  # noqa: ARG001
    plan, _ = site.plan()
    podman.run("pause", site.machine.container)
    try:
        error = site.apply(plan, code=7).value
        status = dryport("status", site.file, code=7).said
    finally:
        podman.run("unpause", site.machine.container)
    assert error["reference"] == "host-unreachable"
    assert site.machine.name in error["where"]
    assert error["hint"]
    assert "registry-not-ready" in status
    assert not [entry for entry in site.events("apply-begin") if entry["plan"] == dryport_digest(plan)]


def dryport_digest(plan: Path) -> str:
    return str(json.loads(plan.read_text())["digest"])


def test_a_host_whose_key_changed_is_refused_and_both_keys_are_named(
    site: Site,
    applied: dict[str, Any],  # noqa: ARG001
    tmp_path: Path,
):
    known = site.home / "known_hosts"
    before = known.read_text()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    known.write_text(f"{site.machine.address} {' '.join((tmp_path / 'k.pub').read_text().split()[:2])}\n")
    try:
        checked = dryport("site", "check", site.file, code=7).value["error"]
        for error in (checked, dryport("site", "enrol", site.file, code=7).value):
            assert (error["reference"], error["seen"]) == ("host-key-changed", site.machine.fingerprint)
            assert error["expected"].startswith("SHA256:")
    finally:
        known.write_text(before)


def test_no_secret_of_the_site_is_anywhere_but_in_its_place(site: Site, applied: dict[str, Any]):  # noqa: ARG001
    kept = [path for folder in ("secrets", "pki") for path in (site.home / folder).iterdir() if path.suffix != ".pem"]
    secrets = {line for path in kept for line in path.read_text().split() if len(line) > 20}
    assert len(secrets) > 4  # passwords, keys, and what is salted
    places = [site.home / "journal.jsonl", site.home / "state.json", *(site.home / "logs").rglob("*.log")]
    places += site.file.parent.glob("plan-*.json")
    assert len(places) > 20
    leaks = [path.name for path in places for secret in secrets if secret in path.read_text()]
    assert leaks == []


def test_nothing_of_an_apply_stays_behind(site: Site, applied: dict[str, Any]):  # noqa: ARG001
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert [line for line in listing.splitlines() if str(site.home / "known_hosts") in line] == []
    port = podman.inside(site.machine.container, "/bin/sh", "-c", "grep -c ':1543 .* 0A ' /proc/net/tcp").stdout
    assert port.strip() == "0"
