"""What the complete registry must show: `make accept-registry` prints a table, fails where a promise is missed.

Suites run as one row each; the conformance program comes by DRYPORT_CONFORMANCE, zot by DRYPORT_ZOT. Takes root and
about half an hour on two cores, most of it building and measuring the registries beside ours.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile

from tests.lab.suites import ROOT, Suite, measured, run_long, run_suite
from tests.lab.table import Table

_BODIES = [
    f"{way}, {streams} streams{line}"
    for line in ("", ", TLS")
    for way in ("download", "upload")
    for streams in (1, 8, 64)
]
GOALS = {
    "manifest GET by tag": {"distribution": 5.0, "zot": 2.0},
    **{case: {"distribution": 1.0, "zot": 1.0} for case in _BODIES},
}
"""How many times better than a peer, per CPU-second of the server."""


SUITES = (
    Suite("checklist of the specification", "one named test each, green", ("tests/contracts",)),
    Suite("clients push, pull, list, delete", "green", ("tests/interop", "-k", "registry")),
    Suite(
        "hostile input, known CVEs, parsers", "green", ("tests/attacks", "tests/properties", "-k", "oci or registry")
    ),
    Suite("crash states, kills, full disks", "0 violations", ("tests/crash",)),
    Suite("pages and administration", "green in Chromium", ("tests/people",)),
)


def long_runs(table: Table) -> None:
    """What takes longer than a suite may: kills, and random histories against the model."""
    with tempfile.TemporaryDirectory(prefix="accept-") as folder:
        run_long(
            "500 x kill -9 under push, tag, delete, collection",
            "0 lost, 0 torn, 0 unreadable",
            table,
            "tests.crash.store_killer",
            folder,
            "500",
        )
    run_long("random histories against the model", "10 000, no violation", table, "tests.slow.store_histories", "10000")


def conformance(table: Table) -> None:
    """The specification's own program."""
    what, goal = "OCI conformance, dev level, sha512, sparse", "0 failures"
    if not os.environ.get("DRYPORT_CONFORMANCE"):
        table.leave_out(what, goal, "DRYPORT_CONFORMANCE names no program")
        return
    command = [sys.executable, "-m", "pytest", "-q", "tests/interop/test_registry_conformance.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    failures = len(re.findall(r": FAIL\b", done.stdout))
    table.add(what, goal, f"{failures} failures, exit {done.returncode}", met=done.returncode == 0)


def beside_others(table: Table) -> None:
    """The measurements in one run."""
    found = measured("side by side with other registries", table, "tests.bench.registry", "--full")
    if found is None:
        return
    for case, contenders in found.items():
        ours = contenders["dryport"]
        for name, other in contenders.items():
            if name == "dryport":
                continue
            better = ours["value"] / other["value"] if ours["higher"] else other["value"] / max(ours["value"], 1e-9)
            goal = GOALS.get(case, {}).get(name)
            seen = f"x{better:.2f} ({ours['value']:.2f} and {other['value']:.2f} {ours['unit']})"
            if goal is None:
                table.leave_out(f"{case}, {name}", "no goal set", seen)
            else:
                table.add(f"{case}, {name}", f"x{goal}", seen, met=better >= goal)


def main() -> int:
    """Show it all; 1 if anything is missed."""
    table = Table()
    beside_others(table)  # first: what suites leave to be written to the disk would be measured with it
    conformance(table)
    for suite in SUITES:
        run_suite(suite, table)
    long_runs(table)
    return 0 if table.show() else 1


if __name__ == "__main__":
    sys.exit(main())
