"""What a client's commands cost: time, its own CPU and memory, and how many bytes left it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.mirrors.clients import Commands, environment

_LAUNCH = """
import json, os, sys, time
begun = time.monotonic()
process = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(process, 0)
wall = time.monotonic() - begun
code, cpu = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
found = [code, wall, cpu, used.ru_maxrss << 10, used.ru_oublock << 9]
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""
"""A process's greatest memory counts from what its parent held; this one holds little."""


@dataclass(frozen=True)
class Cost:
    """Of all commands of one case."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, of the client's processes."""
    memory: int
    """Bytes that its largest process held at once."""
    sent: int = 0
    """Bytes that went to the target, where they were counted."""
    written: int = 0
    """Bytes that its processes made the system write to disk."""

    def least(self, other: Cost) -> Cost:
        """Return the best of both, but for memory."""
        memory, sent = max(self.memory, other.memory), max(self.sent, other.sent)
        wall, cpu, written = min(self.wall, other.wall), min(self.cpu, other.cpu), max(self.written, other.written)
        return Cost(wall, cpu, memory, sent, written)

    def then(self, other: Cost) -> Cost:
        """Return what this costs, and then the other."""
        wall, cpu, memory = self.wall + other.wall, self.cpu + other.cpu, max(self.memory, other.memory)
        return Cost(wall, cpu, memory, self.sent + other.sent, self.written + other.written)


def run(commands: Commands, home: Path) -> Cost:
    """Run commands one after the other. Raises SystemExit with what a failing one said."""
    home.mkdir(exist_ok=True, parents=True)
    cost, log, figures = Cost(0.0, 0.0, 0), home / "log", home / "figures"
    for command in commands:
        with log.open("wb") as out:
            launch = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(figures), *command]
            subprocess.run(launch, stdout=out, stderr=out, env=environment(home), cwd=home, check=True)
        code, wall, cpu, memory, written = json.loads(figures.read_text())
        if code:
            raise SystemExit(f"{' '.join(command)} ended with {code}: {log.read_text()[-2000:]}")
        cost = cost.then(Cost(wall, cpu, memory, written=written))
    return cost
