"""What packs, profiles and mirrors must show: `make accept-packs` prints a table, fails where a promise is missed.

Suites run as one row each; zot comes by DRYPORT_ZOT, the real packs from ../shared. Takes root and three quarters of an
hour on two cores, most of it the peers' builds, the kills and the slow line.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tests.bench.mirror import AGAIN, COPY, FAR, SEND
from tests.lab.suites import ROOT, Suite, measured, run_suite
from tests.lab.table import Table

SUITES = (
    Suite("real packs: findings as read beforehand", "the same for all", ("tests/unit/test_packs_corpus.py",)),
    Suite("real packs: pushed, pulled, by oras too", "byte-identical", ("tests/interop/test_packs_corpus.py",)),
    Suite(
        "60 images between every pair of places", "same digests, 0 bytes again", ("tests/interop/test_mirror_pairs.py",)
    ),
    Suite("hostile registries", "no wrong byte, no leak", ("tests/attacks", "-k", "hostile or pack")),
    Suite("five vendors as they behave", "green", ("tests/vendors",)),
    Suite("lines that break, memory at any size", "green", ("tests/contracts", "-k", "broken or memory or remote")),
    Suite("podman and others by original names", "nobody else asked", ("tests/interop/test_runtimes.py",)),
)
SENT = 1.01
FASTER_THAN_SERIAL = 6.0
MEMORY = 200e6


def kills(table: Table) -> None:
    """Copies that are killed again and again."""
    command = [sys.executable, "-m", "tests.slow.mirror_kills", "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = "; ".join(line.strip() for line in done.stdout.splitlines()[-6:]) or "nothing"
    table.add(
        "100 x kill -9 of a copy",
        "same end, a chunk a stream again",
        f"{said}, exit {done.returncode}",
        met=not done.returncode,
    )


def beside_others(table: Table) -> None:
    """The measurements in one run."""
    found = measured("side by side with other mirrors", table, "tests.bench.mirror", "--full")
    if found is None:
        return
    for case, clients in found["cases"].items():
        _judge(table, case, clients, found["size"])


def _judge(table: Table, case: str, clients: Mapping[str, Mapping[str, Any]], size: int) -> None:
    ours = clients.get("dryport")
    if ours is None:
        return
    if ours["sent"] and not case.endswith(AGAIN):
        sent = ours["sent"] / size
        if case in (COPY, FAR, SEND):
            table.add(f"{case}: bytes sent per unique byte", f"at most {SENT}", f"{sent:.4f}", met=sent <= SENT)
    table.add(
        f"{case}: memory", f"under {MEMORY / 1e6:.0f} MB", f"{ours['memory'] / 1e6:.0f} MB", met=ours["memory"] < MEMORY
    )
    others = {name: one["wall"] for name, one in clients.items() if name != "dryport"}
    if not others:
        return
    best = min(others, key=lambda name: others[name])
    said = f"{ours['wall']:.2f} s, {best} {others[best]:.2f} s"
    if case == FAR:
        serial = others.get("crane", max(others.values())) / ours["wall"]
        goal = f"x{FASTER_THAN_SERIAL:.0f} of a serial copy"
        table.add(f"{case}: wall", goal, f"x{serial:.1f} ({said})", met=serial >= FASTER_THAN_SERIAL)
    elif case in (COPY, SEND):
        table.add(f"{case}: wall", "no worse than the best peer", said, met=ours["wall"] <= others[best])
    else:
        table.leave_out(f"{case}: wall", "no goal set", said)


def main() -> int:
    """Show it all; 1 if anything is missed."""
    table = Table()
    beside_others(table)  # first: what suites leave to be written to the disk would be measured with it
    for suite in SUITES:
        run_suite(suite, table)
    kills(table)
    return 0 if table.show() else 1


if __name__ == "__main__":
    sys.exit(main())
