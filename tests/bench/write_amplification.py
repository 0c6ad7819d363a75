"""How many bytes `dryport bundle build` writes for each byte of unique content. The goal: at most 1.02.

    python -m tests.bench.write_amplification [MEBIBYTES]

Two figures, as Linux counts them for the process: what it passed to write calls, and what it caused to reach the disk
(0 on filesystems without one). The larger one is judged. The last line shows a build that was killed
half way and run again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from registry.store import durable

GOAL = 1.02
PROGRAM = """
import sys
from installer.cli.main import main
try:
    main(sys.argv[1:])
finally:
    sys.stdout.write(open("/proc/self/io").read())
"""
DEFINITION = """\
apiVersion: dryport/v1
kind: Bundle
product: bench
version: 1.0.0
platforms: [linux/amd64]
files:
"""


@dataclass(frozen=True)
class Counted:
    """What one or more builds wrote."""

    calls: int
    disk: int

    def ratio(self, content: int) -> float:
        return max(self.calls, self.disk) / content


def prepare(folder: Path, mebibytes: int) -> int:
    """Write a definition of a few large and many small files; return the bytes of its content."""
    sizes = [(mebibytes << 20) // 4] * 3 + [(mebibytes << 20) // 4 // 200] * 200
    entries = []
    for number, size in enumerate(sizes):
        durable.replace(folder / f"{number}.bin", os.urandom(size))
        entries.append(f"- {{name: file-{number}, file: {{path: {number}.bin}}}}\n")
    durable.replace(folder / "bundle.yaml", (DEFINITION + "".join(entries)).encode())
    return sum(sizes)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "bundle", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Counted:
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"dryport bundle failed: {out}")
    counts = dict(line.split(": ") for line in out.splitlines() if line.startswith(("wchar: ", "write_bytes: ")))
    return Counted(int(counts["wchar"]), int(counts["write_bytes"]))


def counted_kill(process: subprocess.Popen[str], after: int) -> Counted:
    """Let a build write `after` bytes, stop it there, read what it wrote, and kill it."""
    lines = {"wchar": "0"}
    while int(lines["wchar"]) < after:
        time.sleep(0.002)
        lines = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
    process.send_signal(signal.SIGSTOP)
    lines = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
    process.kill()
    process.communicate()
    return Counted(int(lines["wchar"]), int(lines["write_bytes"]))


def main() -> None:
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        folder = Path(name).resolve()
        content = prepare(folder, mebibytes)
        finish(start(folder, "lock", "bundle.yaml"))
        began = time.monotonic()
        fresh = finish(start(folder, "build", "bundle.yaml", "--out", "b.tar"))
        seconds = time.monotonic() - began
        sys.stdout.write(
            f"unique content {content} bytes, built in {seconds:.1f} s\n"
            f"write calls {fresh.calls} bytes ({fresh.calls / content:.4f}), "
            f"disk {fresh.disk} bytes ({fresh.disk / content:.4f}); goal {GOAL}\n"
        )
        first = counted_kill(start(folder, "build", "bundle.yaml", "--out", "c.tar"), content // 2)
        second = finish(start(folder, "build", "bundle.yaml", "--out", "c.tar"))
        both = Counted(first.calls + second.calls, first.disk + second.disk)
        sys.stdout.write(
            f"killed after {first.calls} bytes and built on: {both.calls} bytes ({both.calls / content:.4f})\n"
        )
        same = (folder / "b.tar").read_bytes() == (folder / "c.tar").read_bytes()
    if fresh.ratio(content) > GOAL or not same:
        raise SystemExit("the goal is missed" if same else "the build that went on made another file")


if __name__ == "__main__":
    main()
