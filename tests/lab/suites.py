"""A promise that a suite holds, as one row of an acceptance table."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.table import Table

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Suite:
    """One promise that a suite holds."""

    promise: str
    goal: str
    files: tuple[str, ...]


def run_suite(suite: Suite, table: Table) -> None:
    """Run a suite and add its row."""
    if not (ROOT / suite.files[0]).exists():
        table.add(suite.promise, suite.goal, f"{suite.files[0]} is not there", met=False)
        return
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", *suite.files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-6000:])
    last = next(
        (line for line in reversed(done.stdout.splitlines()) if "passed" in line or "failed" in line), "no test ran"
    )
    seen = f"{re.sub(r' in .*', '', last).strip('= ')} in {time.monotonic() - began:.0f} s"
    # A suite that only skipped has shown nothing.
    table.add(suite.promise, suite.goal, seen, met=done.returncode == 0 and " passed" in f" {last}")
