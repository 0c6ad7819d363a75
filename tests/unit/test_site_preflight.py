from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from installer.hosts import facts as facts_module
from installer.hosts.facts import Facts, gather_all, parse
from installer.preflight.checks import Result
from installer.preflight.survey import Survey, survey
from installer.site.config import Declared
from installer.targets.baremetal import BareMetal
from registry.errors import HostError
from tests.site_samples import GOOD, declare

FAULTS = {
    "os.supported": {"os_version": "11"},
    "cpu.architecture": {"architecture": "riscv64"},
    "systemd.running": {"init": "sleep"},
    "privilege.root": {"privilege": "none"},
    "disk.space": {"free": {"/var/lib": 1 << 20, "/opt": 1 << 40}},
    "time.skew": {"skew": -3600.0},
    "port.free": {"ports": {5000: False, 5443: True}},
}
UNKNOWNS: dict[str, dict[str, object]] = {
    "os.supported": {"os_id": None},
    "cpu.architecture": {"architecture": None},
    "systemd.running": {"init": None},
    "privilege.root": {"privilege": None},
    "disk.space": {"free": {}},
    "time.skew": {"skew": None},
    "port.free": {"ports": {}},
}


@pytest.fixture
def declared(tmp_path: Path) -> Declared:
    return declare(tmp_path)


def surveyed(declared: Declared, one: Facts | HostError, other: Facts | HostError = GOOD) -> Survey:
    hosts = BareMetal(declared).hosts()
    return survey(declared.site, hosts, {"n1": one, "n2": other}, bundle_bytes=1 << 30)


def results(found: Survey, host: str) -> dict[str, Result]:
    return {finding.id: finding.result for finding in found.findings if finding.host == host}


def test_a_good_host_passes_every_check(declared: Declared) -> None:
    found = surveyed(declared, GOOD)
    assert found.refusal() is None
    assert set(results(found, "n1").values()) == {Result.PASS}
    assert set(results(found, "n1")) == {"ssh.login", *FAULTS}


@pytest.mark.parametrize("check", FAULTS)
def test_each_fault_is_found_by_its_check_and_by_no_other(declared: Declared, check: str) -> None:
    found = surveyed(declared, replace(GOOD, **FAULTS[check]))
    bad = {name for name, result in results(found, "n1").items() if not result.is_good}
    assert bad == {check}
    finding = next(one for one in found.findings if one.id == check and one.host == "n1")
    assert finding.result is Result.FAIL
    assert finding.mend
    assert found.findings[0] == finding
    assert not found.is_good


@pytest.mark.parametrize("check", UNKNOWNS)
def test_what_a_host_does_not_tell_is_unknown_and_not_success(declared: Declared, check: str) -> None:
    found = surveyed(declared, replace(GOOD, **UNKNOWNS[check]))  # type: ignore[arg-type]
    assert results(found, "n1")[check] is Result.UNKNOWN
    refusal = found.refusal()
    assert refusal is not None
    assert refusal.exit_code == 7


def test_one_trouble_keeps_its_name_and_many_are_reported_together(declared: Declared) -> None:
    full = surveyed(declared, replace(GOOD, **FAULTS["disk.space"])).refusal()
    gone = surveyed(declared, HostError("host-unreachable", "n1 does not answer")).refusal()
    both = surveyed(declared, HostError("host-unreachable", "x"), replace(GOOD, init="sleep")).refusal()
    assert full is not None
    assert gone is not None
    assert both is not None
    assert (full.reference, gone.reference, both.reference) == (
        "host-disk-full",
        "host-unreachable",
        "preflight-failed",
    )
    assert [one.reference for one in both.findings] == ["host-unreachable", "preflight-systemd-running"]


def test_our_own_registry_may_hold_its_port(declared: Declared) -> None:
    ours = replace(GOOD, registry="active", ports={5000: False, 5443: True})
    assert surveyed(declared, ours).is_good


def test_a_host_without_a_registry_needs_neither_its_port_nor_its_space(declared: Declared) -> None:
    small = replace(GOOD, free={"/var/lib": 2 << 30}, ports={5443: True})
    assert surveyed(declared, GOOD, small).is_good
    assert not surveyed(declared, small).is_good


def test_the_space_asked_for_grows_with_the_bundle(declared: Declared) -> None:
    hosts, just = BareMetal(declared).hosts(), replace(GOOD, free={"/var/lib": 3 << 30})
    facts = {"n1": just, "n2": GOOD}
    assert survey(declared.site, hosts, facts, bundle_bytes=2 << 30).is_good
    assert not survey(declared.site, hosts, facts, bundle_bytes=(2 << 30) + 1).is_good


def told_here(ports: str) -> Facts:
    """The facts of this machine, by the script that hosts run."""
    script = f"PORTS='{ports}'\n{facts_module._SCRIPT}"
    done = subprocess.run(["sh", "-s"], input=script, text=True, capture_output=True, check=True, timeout=30)
    return parse(done.stdout, clock=time.time())


def test_the_script_tells_the_truth_about_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as given_back:
        free = given_back.getsockname()[1]
        given_back.close()
        port = taken.getsockname()[1]
        told = told_here(f"{port} {free}")
    assert told.ports == {port: False, free: True}
    assert told.architecture in ("x86_64", "aarch64")
    assert told.skew is not None
    assert abs(told.skew) < 2
    assert told.free["/var/lib"] > 0


def test_an_answer_that_was_cut_off_tells_nothing() -> None:
    assert parse("os.id=debian\nos.version=12\n", clock=0) == Facts()


def test_hosts_are_asked_side_by_side_and_one_that_fails_does_not_hide_the_others(declared: Declared) -> None:
    def ask(host: object) -> Facts:
        if getattr(host, "name", "") == "n1":
            raise HostError("host-unreachable", "n1")
        return GOOD

    found = gather_all(BareMetal(declared).hosts(), ask)
    assert isinstance(found["n1"], HostError)
    assert found["n2"] == GOOD
