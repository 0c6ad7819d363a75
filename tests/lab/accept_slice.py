"""What the first slice must show, on real counterparts: `make accept-slice` prints a table, fails where one is missed.

All of it happens in a clean clone of the committed state, in a folder whose name has a space, with an environment of
its own. Takes root, podman and about twenty minutes on two cores.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import hosts, network
from tests.lab.demo.script import KIT_FOLDER, NAME
from tests.lab.table import Table

ROOT = Path(__file__).parents[2]
MILLISECONDS = 150.0
WRITTEN = 1.05


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    seconds: float
    text: str


@dataclass(frozen=True)
class Clone:
    """A clean clone; every command runs in it, and what it said is kept beside it."""

    at: Path

    def run(self, *command: str, seconds: int = 3000) -> Done:
        """Run a command with its output kept in a file, and return how it ended."""
        log = self.at.parent / f"{'-'.join(command[:3]).replace('/', '_')}-{time.monotonic_ns()}.log"
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "MAKE"))
        }
        began = time.monotonic()
        with log.open("wb") as out:
            done = subprocess.run(
                command, cwd=self.at, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                timeout=seconds, check=False,
            )  # fmt: skip
        text = log.read_text(errors="replace")
        if done.returncode:
            print(
                f"--- {' '.join(command)} ended with {done.returncode}; its last lines:",
                *text.splitlines()[-40:],
                sep="\n",
            )
        return Done(done.returncode, time.monotonic() - began, text)

    def state(self) -> dict[str, object]:
        """Return what the demonstration's site says of itself, without its times."""
        desk = (".venv/bin/python", "-m", "tests.lab.desk", "run", "--name", NAME, "--")
        done = subprocess.run(
            (*desk, f"/root/{KIT_FOLDER}/bin/dryport", "status", "/root/site.yaml", "--json"),
            cwd=self.at, capture_output=True, text=True, check=False,
        )  # fmt: skip
        told: dict[str, object] = json.loads(done.stdout)
        return {name: _timeless(value) for name, value in told.items()}


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if name not in ("applied", "evidenceDays", "seen")}
    return value


@contextmanager
def cloned() -> Iterator[Clone]:
    """Give a clean clone of what is committed."""
    with tempfile.TemporaryDirectory(prefix="dryport accept ") as folder:
        at = Path(folder) / "a clean clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(at)], check=True)
        yield Clone(at)


def demonstrate(clone: Clone, table: Table) -> None:
    """The demonstration twice, and its removal."""
    first = clone.run("make", "demo")
    table.add("make demo, first run", "ends well", f"exit {first.code} in {first.seconds:.0f} s", met=first.code == 0)
    before = clone.state() if first.code == 0 else {}
    second = clone.run("make", "demo")
    faster = second.code == 0 and second.seconds < first.seconds
    table.add("make demo, second run", "ends well, faster", f"exit {second.code} in {second.seconds:.0f} s", met=faster)
    after = clone.state() if second.code == 0 else {"failed": True}
    table.add("state after both runs", "the same", "the same" if before == after else "different", met=before == after)
    changed = re.findall(r"(\d+) changed", second.text)
    table.add(
        "tasks changed by the second apply", "0", changed[-1] if changed else "not told", met=changed[-1:] == ["0"]
    )
    down = clone.run("make", "demo-down")
    left = leftovers(clone)
    seen = "nothing" if not left and down.code == 0 else f"exit {down.code}; {'; '.join(left)}"
    table.add("make demo-down leaves", "nothing", seen, met=seen == "nothing")


def leftovers(clone: Clone) -> list[str]:
    """Return the containers, networks, mounts, processes and files that the demonstration left."""
    marks = (NAME, str(clone.at))
    left = [f"container {name}" for name in hosts.containers(NAME)] + [
        f"network {name}" for name in network.names(NAME)
    ]
    left += [
        f"mount {line}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if any(m in line for m in marks)
    ]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(entry.name) != os.getpid() and any(mark in words for mark in marks):
            left.append(f"process {entry.name} {words[:100]}")
    if (clone.at / "build/demo").exists():
        left.append("build/demo")
    return left


def test(clone: Clone, table: Table) -> None:
    """The tests, from nothing, with every part required."""
    shutil.rmtree(clone.at / ".venv", ignore_errors=True)
    (clone.at / "build/venv").unlink(missing_ok=True)
    done = clone.run("env", "CI=true", "make", "test")
    counts = re.findall(r"(\d+) (passed|failed|skipped|error)", done.text)
    sums = {
        kind: sum(int(count) for count, one in counts if one == kind)
        for kind in ("passed", "failed", "skipped", "error")
    }
    seen = ", ".join(f"{count} {kind}" for kind, count in sums.items() if count) + f" in {done.seconds:.0f} s"
    table.add("make test, fresh environment, all required", "green", seen, met=done.code == 0 and sums["passed"] > 0)
    alone = "with no network but loopback" in done.text
    table.add(
        "Python layers without network", "in a namespace", "in a namespace" if alone else "network in sight", met=alone
    )


def measure(clone: Clone, table: Table) -> None:
    """The figures: bytes written, and how soon help comes."""
    done = clone.run(".venv/bin/python", "-m", "tests.bench.write_amplification")
    ratios = re.search(r"write calls \d+ bytes \(([\d.]+)\), disk \d+ bytes \(([\d.]+)\)", done.text)
    written = max(float(one) for one in ratios.groups()) if ratios else float("inf")
    table.add("bytes written per byte of content", f"at most {WRITTEN}", f"{written:.4f}", met=written <= WRITTEN)
    best = min(clone.run(".venv/bin/dryport", "--help").seconds for _ in range(7)) * 1000
    table.add("dryport --help, warm", f"under {MILLISECONDS:.0f} ms", f"{best:.0f} ms", met=best < MILLISECONDS)


def main() -> int:
    """Show it all; 1 if anything is missed."""
    if os.geteuid() != 0:
        print("make accept-slice needs root: it raises hosts and networks", file=sys.stderr)
        return 2
    if hosts.containers(NAME):
        print("a demonstration runs on this machine; remove it first: make demo-down", file=sys.stderr)
        return 2
    table = Table()
    with cloned() as clone:
        demonstrate(clone, table)
        test(clone, table)
        measure(clone, table)
    return 0 if table.show() else 1


if __name__ == "__main__":
    sys.exit(main())
