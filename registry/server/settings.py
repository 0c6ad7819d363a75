"""How a server is told to behave; nothing here is read from the environment."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from registry.errors import UsageError


@dataclass(frozen=True, slots=True)
class Settings:
    """One server's settings; passwords over an open network without TLS are not among what can be set."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 lets the system choose one."""
    certificate: Path | None = None
    key: Path | None = None
    users: Path | None = None
    store: Path | None = None
    read_only: bool = False
    anonymous_pull: bool = False
    least_chunk: int = 0
    """What clients that send chunks are asked to send at once (each chunk costs a sync of the disk); 0 asks nothing."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise UsageError("tls-incomplete", "a certificate and its key belong together", hint="give both, or none")
        if self.certificate is None and not _is_loopback(self.host):
            raise UsageError(
                "tls-missing",
                "beyond this machine the registry speaks TLS only",
                where=self.host,
                hint="give --certificate and --key, or listen on 127.0.0.1",
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
