"""`dryport registry serve --config` as a process of its own, with what it printed in a file."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-c", "from installer.cli.main import main; main()"]


@dataclass(frozen=True)
class Process:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def told(self) -> str:
        return self.log.read_text()

    def workers(self) -> Sequence[int]:
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] or [pid]


@contextmanager
def serving(folder: Path, config: str, workers: int = 1, name: str = "config") -> Iterator[Process]:
    """Serve what `config` says on a free port of the loopback, until the end of the block; give it when all serve."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    path, log = folder / f"{name}.yaml", folder / f"{name}.log"
    path.write_text(f"listen: 127.0.0.1:{port}\nworkers: {workers}\n{config}")
    with log.open("wb") as said:
        process = subprocess.Popen([*COMMAND, "registry", "serve", "--config", path], stdout=said, stderr=said)
    try:
        running = Process(port, process, log)
        in_time(lambda: "\nready\n" in running.told() or process.poll() is not None)
        assert process.poll() is None, running.told()
        in_time(lambda: len(running.workers()) == workers and all(map(_serves, running.workers())))
        yield running
    finally:
        process.kill()
        process.wait()


def in_time(is_so: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def _serves(pid: int) -> bool:
    """Say whether a process has got as far as to handle SIGHUP, which comes right before it serves."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt")).split()[1]
    return bool(int(caught, 16) & 1 << signal.SIGHUP - 1)
