"""How often somebody may ask: token buckets per identity and per address, and for wrong passwords.

A bucket holds `burst` and fills by `per_second`. Who finds it empty is told when to come again. Memory is bounded: the
bucket that was idle longest is forgotten. Each server process counts for itself.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass

from registry.server.wire import Refusal

KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, then so many a second; 0 stands for any number."""

    per_second: float = 0.0
    burst: int = 0

    @property
    def is_on(self) -> bool:
        """Whether anything is limited."""
        return self.per_second > 0


@dataclass(frozen=True, slots=True)
class Limits:
    """One server process's limits."""

    identity: Rate = Rate()
    """Requests of one user, robot or certificate."""
    address: Rate = Rate()
    """Requests from one address (IPv6: from one /64 network)."""
    failures: Rate = Rate(per_second=0.2, burst=30)
    """Wrong credentials from one address, whatever the name."""
    limits_loopback: bool = False
    """Programs on this machine share an address with everything behind a proxy that is not named."""
    proxies: frozenset[str] = frozenset()
    """Addresses whose `X-Forwarded-For` is believed, its last entry alone."""


class Buckets:
    """One rate for many keys."""

    def __init__(self, rate: Rate, kept: int = KEPT) -> None:
        self._rate = rate
        self._kept = kept
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take one; return 0, or how many seconds are missing (nothing is taken then)."""
        if not self._rate.is_on:
            return 0.0
        level = self._level(key, now)
        if level < 1:
            return (1 - level) / self._rate.per_second
        self._levels[key] = (level - 1, now)
        self._levels.move_to_end(key)
        if len(self._levels) > self._kept:
            self._levels.popitem(last=False)
        return 0.0

    def give_back(self, key: str) -> None:
        """Undo one `take`: what was paid in advance was not spent."""
        if found := self._levels.get(key):
            level, then = found
            self._levels[key] = (min(level + 1, float(max(self._rate.burst, 1))), then)

    def _level(self, key: str, now: float) -> float:
        burst = max(self._rate.burst, 1)
        level, then = self._levels.get(key, (float(burst), now))
        return min(float(burst), level + max(now - then, 0) * self._rate.per_second)


class Gate:
    """Admits requests, or tells when to come again. Raises Refusal (429)."""

    def __init__(self, limits: Limits) -> None:
        self._identities, self._addresses = Buckets(limits.identity), Buckets(limits.address)
        self.is_on = limits.identity.is_on or limits.address.is_on

    def admit_address(self, address: str) -> None:
        """Let in one request from an address."""
        if address and (wait := self._addresses.take(address, time.monotonic())):
            raise too_many(wait)

    def admit_identity(self, name: str) -> None:
        """Let in one request of somebody who is known."""
        if name and (wait := self._identities.take(name, time.monotonic())):
            raise too_many(wait)


def too_many(wait: float) -> Refusal:
    """Return the 429 that says when to come again."""
    headers = {"Retry-After": str(int(wait) + 1)}
    return Refusal("TOOMANYREQUESTS", "too many requests; come again later", headers=headers)


def address_of(peer: str, forwarded: str | None, limits: Limits) -> str:
    """Return the address that a request counts for; empty if it is not limited by address."""
    if peer in limits.proxies and forwarded:
        peer = forwarded.rpartition(",")[2].strip()
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return ""
    if address.is_loopback and not limits.limits_loopback:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)
