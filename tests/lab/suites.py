"""What the rows of an acceptance table come from: suites, long runs, and measurements beside others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def run_long(what: str, goal: str, table: Table, module: str, *words: str) -> None:
    """Run what takes longer than a suite may, and add its row: the last line that it says, and how it ended."""
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout.strip().splitlines()[-1:] or ["nothing"]
    table.add(what, goal, f"{said[0]}, exit {done.returncode}", met=done.returncode == 0)


def measured(what: str, table: Table, module: str, *words: str) -> Any:  # noqa: ANN401 - each bench's own JSON
    """Run a benchmark and return what it wrote down; None, with a row that is missed, if it did not end well."""
    with tempfile.TemporaryDirectory(prefix="accept-") as folder:
        figures = Path(folder) / "figures.json"
        command = [sys.executable, "-m", module, *words, "--json", str(figures)]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode == 0 and figures.exists():
            return json.loads(figures.read_text())
        table.add(what, "measured", f"exit {done.returncode}", met=False)
        return None
