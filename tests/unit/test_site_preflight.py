from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from installer.hosts import facts as facts_module
from installer.hosts.facts import Facts, gather_all, parse
from installer.preflight.checks import CHECKS
from installer.preflight.question import Result
from installer.preflight.survey import Survey, survey
from installer.site.config import Declared
from installer.targets.baremetal import BareMetal
from registry.errors import HostError
from tests.site_samples import GOOD, OTHER, declare

FAULTS: dict[str, dict[str, object]] = {
    "os.supported": {"os_version": "11"},
    "systemd.running": {"init": "sleep"},
    "kernel.version": {"kernel": "4.19.0-26-amd64"},
    "privilege.root": {"privilege": "none"},
    "packages.whole": {"dpkg_broken": True},
    "cpu.architecture": {"architecture": "riscv64"},
    "cpu.features": {"cpu_flags": frozenset({"ssse3"})},
    "memory.size": {"memory": 256 << 20},
    "hostname.valid": {"hostname": "Node_1"},
    "disk.space": {"free": {"/var/lib": 1 << 20, "/opt": 1 << 40}},
    "disk.program-space": {"free": {"/var/lib": 1 << 40, "/opt": 1 << 20}},
    "disk.inodes": {"inodes": {"/var/lib": 12}},
    "disk.latency": {"sync_ms": 400.0},
    "folder.no-link": {"links": frozenset({"/var/lib/dryport"})},
    "temporary.usable": {"temporary": "not writable"},
    "time.skew": {"skew": -3600.0},
    "port.free": {"ports": {5000: False, 5443: True}},
    "dns.wildcard": {"wildcard": "alpha.example"},
    "registry.reachable": {"reach": {"10.0.0.1/5000": "no answer"}},
}
"""What makes a check fail."""
DOUBTS: dict[str, dict[str, object]] = {
    "cpu.count": {"cpus": 1},
    "services.in-the-way": {"services": frozenset({"firewalld"})},
    "address.local": {"addresses": frozenset({"127.0.0.1"})},
    "disk.latency": {"sync_ms": 40.0},
    "time.synchronised": {"synchronised": False},
    "route.default": {"default_route": False},
    "dns.servers": {"nameservers": ("127.0.0.53",)},
    "dns.search": {"searches": tuple(f"{number}.example" for number in range(9))},
}
"""What makes a check warn."""
UNKNOWNS: dict[str, dict[str, object]] = {
    "os.supported": {"os_id": None},
    "systemd.running": {"init": None},
    "kernel.version": {"kernel": None},
    "privilege.root": {"privilege": None},
    "services.in-the-way": {"services": None},
    "packages.whole": {"dpkg_broken": None},
    "cpu.architecture": {"architecture": None},
    "cpu.count": {"cpus": None},
    "cpu.features": {"cpu_flags": None},
    "memory.size": {"memory": None},
    "hostname.valid": {"hostname": None},
    "address.local": {"addresses": None},
    "disk.space": {"free": {"/opt": 1 << 40}},
    "disk.program-space": {"free": {"/var/lib": 1 << 40}},
    "disk.inodes": {"inodes": {}},
    "disk.latency": {"sync_ms": None},
    "folder.no-link": {"links": None},
    "temporary.usable": {"temporary": None},
    "time.skew": {"skew": None},
    "time.synchronised": {"synchronised": None},
    "port.free": {"ports": {}},
    "route.default": {"default_route": None},
    "dns.servers": {"nameservers": None},
    "dns.wildcard": {"wildcard": None},
    "registry.reachable": {"reach": {}},
    "dns.search": {"searches": None},
}
ACROSS = ("hostname.unique", "machine.unique", "time.between-hosts")


@pytest.fixture
def declared(tmp_path: Path) -> Declared:
    return declare(tmp_path)


def surveyed(declared: Declared, one: Facts | HostError, other: Facts | HostError = OTHER) -> Survey:
    hosts = BareMetal(declared).hosts()
    return survey(declared.site, hosts, {"n1": one, "n2": other}, bundle_bytes=1 << 30)


def results(found: Survey, host: str) -> dict[str, Result]:
    return {finding.id: finding.result for finding in found.findings if finding.host == host}


def test_a_good_host_passes_every_check(declared: Declared) -> None:
    found = surveyed(declared, GOOD)
    assert found.refusal() is None
    assert set(results(found, "n1").values()) == {Result.PASS}
    assert set(results(found, "n1")) == {"ssh.login", *FAULTS, *DOUBTS}
    assert results(found, "the site") == dict.fromkeys(ACROSS, Result.PASS)


def test_no_check_is_without_a_test() -> None:
    assert set(UNKNOWNS) == {*FAULTS, *DOUBTS}
    assert len(UNKNOWNS) == len(CHECKS)


@pytest.mark.parametrize("check", FAULTS)
def test_each_fault_is_found_by_its_check_and_by_no_other_of_the_host(declared: Declared, check: str) -> None:
    found = surveyed(declared, replace(GOOD, **FAULTS[check]))  # type: ignore[arg-type]
    bad = {name for name, result in results(found, "n1").items() if not result.is_good}
    assert bad == {check}
    finding = next(one for one in found.findings if one.id == check and one.host == "n1")
    assert finding.result is Result.FAIL
    assert finding.mend
    assert found.findings[0].result is Result.FAIL
    assert not found.is_good


@pytest.mark.parametrize("check", DOUBTS)
def test_each_doubt_is_told_and_stops_nobody(declared: Declared, check: str) -> None:
    found = surveyed(declared, replace(GOOD, **DOUBTS[check]))  # type: ignore[arg-type]
    assert {name for name, result in results(found, "n1").items() if result is Result.WARN} == {check}
    assert found.is_good
    assert next(one for one in found.findings if one.id == check and one.host == "n1").mend


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ({"hostname": "n1"}, "hostname.unique"),
        ({"machine": "1" * 32}, "machine.unique"),
        ({"skew": 45.0}, "time.between-hosts"),
    ],
)
def test_hosts_that_are_well_by_themselves_are_compared(
    declared: Declared, fault: dict[str, object], check: str
) -> None:
    found = surveyed(declared, GOOD, replace(OTHER, **fault))  # type: ignore[arg-type]
    assert {name for name, result in results(found, "the site").items() if result is Result.FAIL} == {check}
    assert not found.is_good


@pytest.mark.parametrize(
    ("fact", "check"), [("hostname", "hostname.unique"), ("machine", "machine.unique"), ("skew", "time.between-hosts")]
)
def test_hosts_that_do_not_tell_cannot_be_compared(declared: Declared, fact: str, check: str) -> None:
    found = surveyed(declared, GOOD, replace(OTHER, **{fact: None}))  # type: ignore[arg-type]
    assert results(found, "the site")[check] is Result.UNKNOWN


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
    small = replace(OTHER, free={"/var/lib": 2 << 30, "/opt": 2 << 30}, ports={5443: True})
    assert surveyed(declared, GOOD, small).is_good
    assert not surveyed(declared, small, GOOD).is_good


def test_the_space_asked_for_grows_with_the_bundle(declared: Declared) -> None:
    hosts, just = BareMetal(declared).hosts(), replace(GOOD, free={"/var/lib": 3 << 30, "/opt": 3 << 30})
    facts = {"n1": just, "n2": OTHER}
    assert survey(declared.site, hosts, facts, bundle_bytes=2 << 30).is_good
    assert not survey(declared.site, hosts, facts, bundle_bytes=(2 << 30) + 1).is_good


def told_here(ports: str, peers: str = "") -> Facts:
    """The facts of this machine, by the script that hosts run."""
    script = f"PORTS='{ports}'\nPEERS='{peers}'\n{facts_module.LOOK}"
    done = subprocess.run(["sh", "-s"], input=script, text=True, capture_output=True, check=True, timeout=30)
    return parse(done.stdout, clock=time.time())


def test_the_script_tells_the_truth_about_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as given_back:
        free = given_back.getsockname()[1]
        given_back.close()
        port = taken.getsockname()[1]
        told = told_here(f"{port} {free}", f"127.0.0.1/{port} 127.0.0.1/{free}")
    assert told.ports == {port: False, free: True}
    assert told.reach == {f"127.0.0.1/{port}": "open", f"127.0.0.1/{free}": "refused"}
    assert told.architecture in ("x86_64", "aarch64")
    assert told.skew is not None
    assert abs(told.skew) < 2
    assert told.free["/var/lib"] > 0
    assert {name for name in Facts.__slots__ if getattr(told, name) is None} <= {"kit", "registry", "python", "init"}
    assert told.cpus == os.cpu_count()
    assert told.addresses is not None
    assert "127.0.0.1" in told.addresses
    assert told.sync_ms is not None
    assert list(Path("/var/lib").glob(".dryport-look*")) == []


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
