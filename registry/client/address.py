"""Where a registry is, and where it may send us: origins, redirects, and the one place where plain HTTP exists.

* An origin is scheme, host and port in one spelling, so that two of them can be compared.
* Plain HTTP is for loopback alone: a registry on this machine that nobody else can hear. There is no switch.
* A redirect stays on HTTPS, except from loopback to loopback, and carries no user.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urljoin, urlsplit

from registry.errors import RemoteError, UsageError

_PORTS = {"https": 443, "http": 80}


def origin(scheme: str, host: str | None, port: int | None) -> str:
    """Return scheme, host and port in the one form in which two origins are compared."""
    name, scheme = (host or "").lower(), scheme.lower()
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port or _PORTS.get(scheme, 443)}"


def origin_of(url: str) -> str:
    """Return the origin of an absolute URL of HTTP; of anything else, the empty text, which is no origin."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and parts.hostname and parts.username is None
        return origin(parts.scheme, parts.hostname, parts.port) if usable else ""
    except ValueError:
        return ""


def is_loopback(host: str | None) -> bool:
    """Say whether a host is this machine by its name alone; nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def registry_origin(url: str) -> str:
    """Return the origin that names a registry. Raises UsageError, without repeating a secret in the address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme == "http" and parts.hostname and not is_loopback(parts.hostname):
        raise UsageError(
            "registry-plain-http",
            "a registry over plain HTTP can be read and changed by everybody on the way",
            seen=f"http://{parts.hostname}",
            hint="give the registry a certificate (https://); plain HTTP works for 127.0.0.1 and localhost alone",
        )
    if (
        parts.scheme not in _PORTS
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.username is not None
    ):
        raise UsageError(
            "registry-address",
            "a registry is named by https, host and port alone",
            seen=url.rpartition("@")[2][:200],  # what stands before it may be a secret
            hint="https://registry.example.org:5000; user and password file have options of their own",
        )
    return origin(parts.scheme, parts.hostname, port)


def redirected(url: str, location: str) -> str:
    """Return where a server sends us. Raises RemoteError unless it is HTTPS (or loopback, from plain loopback)."""
    target = ""
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        stays = parts.scheme == "http" and urlsplit(url).scheme == "http" and is_loopback(parts.hostname)
        usable = (parts.scheme == "https" or stays) and parts.hostname and parts.username is None and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise RemoteError(
            "redirect-not-https",
            "the registry redirects to what is not HTTPS",
            where=url,
            seen=location[:200],
            hint="have the registry's administrator mend it; dryport follows no redirect to what can be overheard",
        )
    return target
