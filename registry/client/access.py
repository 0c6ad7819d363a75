"""How a registry is reached: who asks, whom to trust, and through which proxy. Values; nothing is read here."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Login:
    """A user's secret at a registry: a password, or an identity token that is exchanged for short-lived ones."""

    user: str
    secret: str = field(repr=False)
    is_identity_token: bool = False


LoginSource = Callable[[], Login | None]
"""Gives the login when the registry asks for one, and again when it refuses the last: short-lived ones are renewed."""


def nobody() -> Login | None:
    """Give no login."""
    return None


def fixed_login(user: str | None, secret: str | None) -> LoginSource:
    """Give the same user and password whenever asked; nobody, where no user is named."""
    login = Login(user, secret or "") if user is not None else None
    return lambda: login


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that tunnels to registries, and the hosts that are reached without it."""

    url: str
    direct: tuple[str, ...] = ()
    """Host names, domains (`.example.org` or `example.org` with all below), addresses or networks (CIDR)."""
    login: LoginSource = nobody

    def serves(self, host: str) -> bool:
        """Say whether `host` is reached through the proxy."""
        return not any(_covers(rule.strip().lower(), host.lower()) for rule in self.direct)


def _covers(rule: str, host: str) -> bool:
    if rule == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        name = rule.removeprefix("*").removeprefix(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))


@dataclass(frozen=True, slots=True)
class Access:
    """What one registry is reached with. Without `ca`, the system's authorities vouch for it."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    login: LoginSource = nobody
    realms: frozenset[str] = frozenset()
    """Origins besides the registry's own that may be sent its credentials, in exchange for a token."""
    proxy: Proxy | None = None


NOBODY = Access()
