"""How a server is told to behave; nothing here is read from the environment."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from registry.errors import UsageError
from registry.server.limits import Limits

_PLACE = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")


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

    access: Path | None = None
    """Folder of robots, the tokens' key and the audit log; without it there is none of the three."""
    external_url: str | None = None
    """Under which address clients reach this registry; given, they are told to use tokens."""
    client_ca: Path | None = None
    """Who signs the certificates by which clients may log in."""
    limits: Limits = field(default_factory=Limits)
    accel: str = ""
    """The place of the store's `blobs` folder in an nginx in front, which then sends blobs itself; as `/-/blobs`."""

    def __post_init__(self) -> None:
        if self.accel and not (_is_loopback(self.host) and _PLACE.fullmatch(self.accel)):
            raise UsageError(
                "accel-invalid",
                "blobs are left to an nginx on this machine, at a path of its own",
                seen=f"{self.accel[:100]}, listening on {self.host}",
                hint="listen on 127.0.0.1, and name a path such as /-/blobs",
            )
        if self.client_ca is not None and self.certificate is None:
            raise UsageError("tls-incomplete", "certificates of clients need TLS", hint="give certificate and key")
        if self.external_url is not None and not _is_origin(self.external_url):
            raise UsageError(
                "external-url-invalid",
                "the address for clients is https://HOST[:PORT], nothing behind it",
                seen=self.external_url[:200],
                hint="for example https://registry.example.org:5000; plain http is for this machine alone",
            )
        if (self.certificate is None) != (self.key is None):
            raise UsageError("tls-incomplete", "a certificate and its key belong together", hint="give both, or none")
        if self.certificate is None and not _is_loopback(self.host):
            raise UsageError(
                "tls-missing",
                "beyond this machine the registry speaks TLS only",
                where=self.host,
                hint="give --certificate and --key, or listen on 127.0.0.1",
            )


def _is_origin(url: str) -> bool:
    """Say whether a URL is an origin over HTTPS; on this machine plain HTTP will do."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))
    return is_safe and bool(parts.hostname) and url == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
