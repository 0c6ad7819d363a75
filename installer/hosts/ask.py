"""One HTTPS question to a service on a host, through SSH: no other port of the host need be open to us.

The certificate is checked against the site CA and the host's address as everywhere.

>>> ask(ssh, host, port=5000, path="/readyz", ca=home.pki / "ca.pem").status
200
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from installer.hosts.ssh import SSH_FAILED, Ssh
from installer.targets.base import Host
from registry.errors import HostError

SECONDS = 15.0
END_SECONDS = 2.0
BODY_BYTES = 64 << 10
_REFUSED = re.compile(r"open failed|stdio forwarding failed", re.IGNORECASE)
"""What ssh says when the host was reached and the port on it was not."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service said."""

    status: int
    body: str


def ask(ssh: Ssh, host: Host, *, port: int, path: str, ca: Path) -> Reply:
    """Return the answer to a GET. Raises HostError if SSH fails or the service does not answer properly."""
    words = ssh.command(host)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [words[0], "-W", f"{_bracketed(host.address)}:{port}", *words[1:]],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
        )
        theirs.close()
        ours.settimeout(SECONDS)
        try:
            with ssl.create_default_context(cafile=ca).wrap_socket(ours, server_hostname=host.address) as link:
                link.sendall(f"GET {path} HTTP/1.1\r\nHost: {host.address}\r\nConnection: close\r\n\r\n".encode())
                response = http.client.HTTPResponse(link)
                response.begin()
                return Reply(response.status, response.read(BODY_BYTES).decode(errors="replace"))
        except (OSError, http.client.HTTPException) as error:
            ours.close()
            said = _end(process)
            if process.returncode == SSH_FAILED and not _REFUSED.search(said):
                raise ssh.failure(host, said) from error
            raise HostError(
                "service-not-answering",
                f"nothing answers properly on port {port} of {host.name}",
                where=str(host),
                seen=" ".join(said.split())[-300:] or str(error),
                hint=f"look at the service on the host: systemctl status dryport-registry.service (port {port})",
            ) from error
        finally:
            ours.close()
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> str:
    """End ssh, by the handle of the process that we started; return what it said."""
    if process.stderr is None or process.stderr.closed:
        return ""
    try:
        said = process.communicate(timeout=END_SECONDS)[1]  # our end is closed, so it ends by itself
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate()[1]
    return said.decode(errors="replace")


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
