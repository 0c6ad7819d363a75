"""What bundles and trust must show: `make accept-bundles` prints a table, fails where a promise is missed.

The measurements come first, then suites as one row each, then what takes long. Hauler and Zarf come by DRYPORT_HAULER
and DRYPORT_ZARF. Takes root and about half an hour on two cores.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from tests.bench import heads
from tests.bench.bundles import CREATE, DIFF, LIST, PUSH, VERIFY, VOLUMES, WHOLE
from tests.lab.suites import Suite, measured, run_long, run_suite
from tests.lab.table import Table

SUITES = (
    Suite("every kind of source keeps its promises", "green", ("tests/contracts/test_sources.py",)),
    Suite("one file for each attack, with its honest twin", "green", ("tests/attacks", "-k", "trust or bundle")),
    Suite("volumes, resumption, diff, media untouched", "green", ("tests/unit", "-k", "volumes or archive or diff")),
    Suite("every real pack locks, or as it was read", "the same for all", ("tests/interop/test_locks_corpus.py",)),
    Suite("charts and packs: what they start is carried", "green", ("tests/unit", "-k", "closure or charts or packs")),
    Suite("two architectures: built, verified, mirrored", "both whole", ("tests/unit/test_two_platforms.py",)),
    Suite("same bytes on any machine, and after kills", "same sha256", ("tests/interop/test_bundle_same_bytes.py",)),
    Suite(
        "skopeo, oras, crane, sha256sum, openssl, cosign, tuf",
        "each reads or verifies it",
        ("tests/interop", "-k", "bundle or openssl or cosign or tuf"),
    ),
    Suite("SoftHSM signs roots and releases", "green", ("tests/unit/test_trust_tokens.py",)),
    Suite("deltas, repair, signing in turn", "green", ("tests/unit", "-k", "delta or inventory or repair or turns")),
    Suite("sources over lines and servers that misbehave", "green", ("tests/interop", "tests/unit", "-k", "sources")),
)
LONG = (
    ("10 000 random edits", "0 accepted, 0 honest twins refused", "tests.slow.bundle_edits", "10000"),
    (
        "200 kills each: build, build of volumes, import",
        "converges, a chunk a stream again",
        "tests.slow.bundle_kills",
        "600",
    ),
    ("10 000 histories beside python-tuf", "agree but for what is listed", "tests.slow.trust_histories", "10000"),
)
WRITTEN, SENT, MEMORY, WALL = 1.02, 1.01, 150e6, 0.8
LOOK_SECONDS, LOOK_BYTES = 0.1, 2_000_000
SCRATCH = 1_000_000
"""Bytes: a journal, what a registry can do; no copy of content would be so small."""


def beside_others(table: Table) -> None:
    """The measurements in one run."""
    found = measured("side by side with other bundlers", table, "tests.bench.bundles")
    if found is None:
        return
    cases, size = found["cases"], found["size"]
    for case in (CREATE, VOLUMES):
        written = cases[case]["dryport"]["written"] / size
        table.add(f"{case}: written per byte", f"at most {WRITTEN}", f"{written:.4f}", met=1 <= written <= WRITTEN)
    for case in (VERIFY, LIST, DIFF, PUSH):
        written = cases[case]["dryport"]["written"]
        table.add(f"{case}: scratch", "no content (1 MB)", f"{written} bytes", met=written <= SCRATCH)
    sent = cases[PUSH]["dryport"]["sent"] / size
    table.add("push: sent per unique byte", f"at most {SENT}", f"{sent:.4f}", met=sent <= SENT)
    memory = max(case["dryport"]["memory"] for case in cases.values())
    table.add("peak memory", f"at most {MEMORY / 1e6:.0f} MB", f"{memory / 1e6:.0f} MB", met=memory <= MEMORY)
    _walls(table, cases)
    for name in ("HAULER", "ZARF"):
        if not os.environ.get(f"DRYPORT_{name}"):
            table.leave_out(f"beside {name.capitalize()}", "measured", f"DRYPORT_{name} names no program")


def _walls(table: Table, cases: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    ours = cases[WHOLE]["dryport"]["wall"]
    if "imgpkg" in cases[WHOLE]:
        theirs = cases[WHOLE]["imgpkg"]["wall"]
        seen = f"x{ours / theirs:.2f} ({ours:.2f} s, {theirs:.2f} s)"
        table.add(WHOLE, f"at most x{WALL} of imgpkg's time", seen, met=ours <= WALL * theirs)
    else:
        table.leave_out(WHOLE, f"at most x{WALL} of imgpkg's time", f"{ours:.2f} s; imgpkg is not here")
    for case in (CREATE, PUSH):
        said = ", ".join(f"{name} {cost['wall']:.2f} s" for name, cost in cases[case].items())
        table.leave_out(f"{case}: time", "no goal set", said)


def sparse(table: Table) -> None:
    """Heads of a bundle of 50 GB."""
    for what, looked in heads.measure().items():
        seen = f"{looked.seconds * 1000:.0f} ms, {looked.read / 1e6:.2f} MB"
        good = looked.seconds <= LOOK_SECONDS and looked.read <= LOOK_BYTES
        table.add(f"{what} of a bundle of 50 GB", "100 ms past start-up, 2 MB read", seen, met=good)


def long_runs(table: Table) -> None:
    """What takes longer than a suite may."""
    for what, goal, module, count in LONG:
        run_long(what, goal, table, module, count)


def main() -> int:
    """Show it all; 1 if anything is missed."""
    table = Table()
    beside_others(table)  # first: what suites leave to be written to the disk would be measured with it
    sparse(table)
    for suite in SUITES:
        run_suite(suite, table)
    long_runs(table)
    return 0 if table.show() else 1


if __name__ == "__main__":
    sys.exit(main())
