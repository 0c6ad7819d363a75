"""The registries that are measured side by side: each a process of its own, on loopback, over an empty folder.

CPU time is that of the whole process group, as Linux counts it: what a request costs does not depend on who else uses
the machine, as wall time does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry.server.users import user_line
from tests.authority import Identity
from tests.bench.registries.client import Client
from tests.lab.peers import PeerError, peer

START_SECONDS = 60
PASSWORD = "bench-password"  # guards a store of random bytes on loopback
_TICK = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).parents[3]


@dataclass
class Contender:
    """One running registry."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    ca: Path | None
    headers: dict[str, str] = field(default_factory=dict)

    def client(self) -> Client:
        return Client(self.port, ca=self.ca, headers=self.headers)

    def cpu(self) -> float:
        """CPU seconds of all its processes so far."""
        total = 0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / _TICK

    def memory(self) -> int:
        """Bytes of memory of its own that its processes hold (proportional, so shared pages count once)."""
        total = 0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total << 10

    def _processes(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[2]) == self.process.pid and fields[0] != "Z":
                        found.append(int(entry.name))
        return found


def available() -> dict[str, str]:
    """Return the contenders that this machine has, with the program of each."""
    found = {"dryport": sys.executable}
    for name in ("distribution", "olareg"):
        with contextlib.suppress(PeerError, OSError):
            found[name] = str(peer(name))
    if zot := os.environ.get("DRYPORT_ZOT"):
        found["zot"] = zot
    return found


@dataclass(frozen=True)
class Start:
    """What to start, and how."""

    name: str
    program: str
    folder: Path
    identity: Identity | None = None
    ca: Path | None = None
    workers: int = 1


@contextlib.contextmanager
def running(start: Start) -> Iterator[Contender]:
    """Start a registry and end it afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    start.folder.mkdir(exist_ok=True, parents=True)
    command = _COMMANDS[start.name](start, port)
    headers = Client.basic("bench", PASSWORD) if start.name == "dryport" else {}
    environment = {
        **os.environ,
        "OTEL_TRACES_EXPORTER": "none",
        "PYTHONPATH": str(_ROOT),
        "GOMAXPROCS": str(max(start.workers, 1)),
    }
    environment.pop("OPENSSL_CONF", None)  # the clients' alone
    with (start.folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    contender = Contender(start.name, process, port, start.folder, start.ca, headers)
    try:
        _wait(contender)
        yield contender
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(contender: Contender) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if contender.process.poll() is not None:
            break
        with contextlib.suppress(OSError, EOFError), contender.client() as client:
            client.ask("GET", "/v2/")
            return
        time.sleep(0.01)
    raise SystemExit(f"{contender.name} did not start: {(contender.folder / 'log').read_text()[-800:]}")


def _dryport(start: Start, port: int) -> list[str]:
    users = start.folder / "users"
    users.write_text(user_line("bench", PASSWORD, ["pull,push,delete:*"], iterations=100_000) + "\n")
    command = [start.program, "-m", "tests.bench.registries.ours", str(start.folder / "store"), str(port), str(users)]
    tls = [str(start.identity.certificate), str(start.identity.key)] if start.identity else []
    return [*command, str(start.workers), *tls]


def _distribution(start: Start, port: int) -> list[str]:
    config = start.folder / "config"
    tls: dict[str, object] = {}
    if start.identity:
        tls = {"tls": {"certificate": str(start.identity.certificate), "key": str(start.identity.key)}}
    value = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(start.folder / "store")},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": f"127.0.0.1:{port}", **tls},
    }
    config.write_text(json.dumps(value))
    return [start.program, "serve", str(config)]


def _olareg(start: Start, port: int) -> list[str]:
    command = [start.program, "serve", "--addr", "127.0.0.1", "--port", str(port), "--dir", str(start.folder / "store")]
    if start.identity:
        command += ["--tls-cert", str(start.identity.certificate), "--tls-key", str(start.identity.key)]
    return command


def _zot(start: Start, port: int) -> list[str]:
    config = start.folder / "config.json"
    tls: dict[str, object] = {}
    if start.identity:
        tls = {"tls": {"cert": str(start.identity.certificate), "key": str(start.identity.key)}}
    value = {
        "storage": {"rootDirectory": str(start.folder / "store"), "commit": True, "gc": False},
        "http": {"address": "127.0.0.1", "port": str(port), "compat": ["docker2s2"], **tls},
        "log": {"level": "error"},
    }
    config.write_text(json.dumps(value))
    return [start.program, "serve", str(config)]


_COMMANDS: Mapping[str, Callable[[Start, int], list[str]]] = {
    "dryport": _dryport,
    "distribution": _distribution,
    "olareg": _olareg,
    "zot": _zot,
}
