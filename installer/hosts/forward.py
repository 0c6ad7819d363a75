"""A reverse forward: a host reaches this machine's registry through the SSH connection that we opened.

SSH is then the only port that must be open, and only from here to there. The connection is also the one that all
later SSH to this host shares (a control socket), so that a step costs no new handshake.

The far end runs `cat` on our pipe: when this process ends, however it ends, the pipe closes, `cat` ends, and so do the
connection and the forward. Nothing is left that a second run would trip over.

>>> with forward(ssh, host, there=5443, here=server_port):
...     ...
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from installer.hosts.ssh import Ssh
from installer.targets.base import Host
from registry.errors import HostError

READY = b"dryport-forward-ready\n"
TRIES = 5
PAUSE_SECONDS = 2.0
END_SECONDS = 5.0
_TAKEN = re.compile(r"remote port forwarding failed", re.IGNORECASE)


@contextmanager
def forward(ssh: Ssh, host: Host, *, there: int, here: int) -> Iterator[None]:
    """Let `127.0.0.1:there` on the host be `127.0.0.1:here` on this machine while the context lasts.

    Raises HostError; a port that is still held by a connection that is just ending is tried again for some seconds.
    """
    process = _connected(ssh, host, there, here)
    try:
        yield
    finally:
        _end(process)


def _connected(ssh: Ssh, host: Host, there: int, here: int) -> subprocess.Popen[bytes]:
    for _ in range(TRIES):
        process, said = _start(ssh, host, there, here)
        if process is not None:
            return process
        if not _TAKEN.search(said):
            raise ssh.failure(host, said)
        time.sleep(PAUSE_SECONDS)
    raise HostError(
        "forward-port-taken",
        f"{host.name} gives us no port {there} on its loopback",
        where=str(host),
        expected="a free port, and an sshd that allows forwarding (AllowTcpForwarding, PermitListen)",
        hint="stop what listens there, or choose another policy.forward_port in site.yaml and plan again",
    )


def _start(ssh: Ssh, host: Host, there: int, here: int) -> tuple[subprocess.Popen[bytes] | None, str]:
    """Return the running connection once the forward stands, or None and what ssh said."""
    words = ssh.command(host, f"echo {READY.decode().strip()}; exec cat >/dev/null")
    own = ["-o", "ExitOnForwardFailure=yes", "-R", f"127.0.0.1:{there}:127.0.0.1:{here}"]
    if ssh.control:
        # before the shared options: ssh takes the first value it meets
        own += ["-o", "ControlMaster=yes", "-o", "ControlPersist=no"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [words[0], *own, *words[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C ends the run in order; the connection must not die before it
        )
        # sshd handles requests in order, so this line says that the forward was granted too
        if _line(process.stdout) == READY:
            return process, ""
        _end(process)
        errors.seek(0)
        return None, errors.read().decode(errors="replace")


def _line(stream: IO[bytes] | None) -> bytes:
    return stream.readline(len(READY)) if stream else b""


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # by the handle of the process that we started
        process.wait()
    if process.stdout:
        process.stdout.close()
