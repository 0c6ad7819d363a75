"""A machine's network of its own without a route: a registry in it, and a trap for whoever asks anybody else.

In the namespace the registry's name leads to an address of its own; every other name is answered by a recording name
server with the address of a recording listener. What either hears is an attempt to get out, seen by nobody's word but
its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from registry.server.users import user_line
from tests.authority import Authority

USER, PASSWORD = "pull", "correct horse #7"
NAME, PORT = "registry.site.test", 5000
SITE, RESOLVER, ELSEWHERE = "192.0.2.10", "192.0.2.53", "192.0.2.66"
TRAP = Path(__file__).with_name("trap.py")
MIRROR = f"{NAME}:{PORT}"
_BEGIN = f"""
set -e
ip link set lo up
for address in {SITE} {RESOLVER} {ELSEWHERE}; do ip address add $address/32 dev lo; done
mount --make-rprivate /
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/resolv.conf" "$(readlink -f /etc/resolv.conf)"
echo ready
exec sleep infinity
"""


@dataclass(frozen=True)
class Isolated:
    """A network namespace, entered by a command in front."""

    folder: Path
    prefix: tuple[str, ...]
    ca: Path
    other_ca: Path
    """An authority that has nothing to do with it."""

    @property
    def attempts(self) -> Sequence[str]:
        """What was tried beside the registry: names asked for, and connections."""
        return (self.folder / "attempts").read_text().splitlines()

    def run(self, *command: str | Path, seconds: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


@contextmanager
def isolated(folder: Path, store: Path, *, everybody: bool = False) -> Iterator[Isolated]:
    """Raise the namespace, in it the trap, and a registry over TLS that serves `store` to a user or to everybody."""
    (folder / "home").mkdir()
    users = folder / "users"
    lines = [user_line(USER, PASSWORD, ["pull:*"], iterations=100_000), *(["anonymous:-:pull:*"] if everybody else [])]
    users.write_text("".join(f"{one}\n" for one in lines))
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{SITE} {NAME}\n")
    (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n")
    (folder / "attempts").touch()
    authority = Authority(folder)
    server = authority.issue(NAME)
    command = ["unshare", "--net", "--mount", "sh", "-c", _BEGIN, "sh", str(folder)]
    with _started(command, b"ready") as holder:
        prefix = ("nsenter", "-t", str(holder.pid), "--net", "--mount", "--")
        trap = [*prefix, sys.executable, str(TRAP), RESOLVER, ELSEWHERE, str(folder / "attempts")]
        main = "from installer.cli.main import main; main()"
        serve = [*prefix, sys.executable, "-c", main, "registry", "serve", "--store", str(store), "--workers", "1"]
        serve += ["--listen", f"{SITE}:{PORT}", "--users", str(users), "--certificate", str(server.certificate)]
        with _started(trap, b"ready"), _started([*serve, "--key", str(server.key)], b"ready"):
            yield Isolated(folder, prefix, authority.ca, Authority(folder, "another authority").ca)


@contextmanager
def _started(command: Sequence[str], word: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that says `word` when it is up; ended by the handle of what was started."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True, cwd=Path(__file__).parents[2]
    )
    try:
        assert process.stdout
        assert any(line.strip() == word for line in process.stdout), f"{command} ended"
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
