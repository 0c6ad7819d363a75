"""How often somebody may ask: rates per identity and per address, and for wrong passwords.

A bucket is one number, the moment at which it is full again (the generic cell rate algorithm of ITU-T I.371). All
processes of one server keep theirs in one table. What is forgotten there first is the bucket that is full soonest, so
that no flood of other names or addresses fills the one that somebody emptied.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass

from registry.server.table import Table
from registry.server.wire import Refusal

_SECOND = 1_000_000_000
_CENTURY = 100 * 366 * 86400 * _SECOND
"""A moment has to fit into 64 bits, whatever rate is asked for."""


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
    """One server's limits."""

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
    """One rate for many keys: a bucket holds `burst` and fills by `per_second`."""

    def __init__(self, rate: Rate, table: Table | None = None, name: str = "") -> None:
        self._is_on, self._name = rate.is_on, name
        self._table = table or Table()
        burst = max(rate.burst, 1)
        self._period = min(int(_SECOND / rate.per_second), _CENTURY // burst) if rate.is_on else 0
        self._whole = burst * self._period

    def take(self, key: str, now: float) -> float:
        """Take one; return 0, or how many seconds are missing (nothing is taken then). `now` is monotonic."""
        if not self._is_on:
            return 0.0
        moment = int(now * _SECOND)
        with self._table.held(f"{self._name}\0{key}") as slot:
            spent = max(slot.number - moment, 0)
            missing = spent + self._period - self._whole
            if missing > 0:
                return missing / _SECOND
            slot.number = moment + spent + self._period
        return 0.0

    def give_back(self, key: str) -> None:
        """Undo one `take`: what was paid in advance was not spent."""
        if not self._is_on:
            return
        with self._table.held(f"{self._name}\0{key}") as slot:
            if number := slot.number:
                slot.number = max(number - self._period, 0)


class Gate:
    """Admits requests, or tells when to come again. Raises Refusal (429)."""

    def __init__(self, limits: Limits, table: Table) -> None:
        self._identities = Buckets(limits.identity, table, "identity")
        self._addresses = Buckets(limits.address, table, "address")
        self.asks_address = limits.address.is_on
        """Whether it counts from where somebody asks."""

    def admit_address(self, address: str) -> None:
        """Let in one request from an address."""
        if address and (wait := self._addresses.take(address, time.monotonic())):
            raise too_many(wait)

    def admit_identity(self, name: str) -> None:
        """Let in one request of somebody who is known."""
        if name and (wait := self._identities.take(name, time.monotonic())):
            raise too_many(wait)

    def has(self, name: str) -> bool:
        """Say whether somebody who is known may ask now, and count one request if so."""
        return not (name and self._identities.take(name, time.monotonic()))


def too_many(wait: float) -> Refusal:
    """Return the 429 that says when to come again."""
    headers = {"Retry-After": str(int(wait) + 1)}
    return Refusal("TOOMANYREQUESTS", "too many requests; come again later", headers=headers)


def address_of(peer: str, forwarded: str | None, limits: Limits) -> str:
    """Return the address that a request counts for; empty if it is not limited by address.

    What a proxy says and is no address counts for the proxy itself. A proxy on this machine that nobody named shows
    itself by the header: its clients count as one.
    """
    address = _address(peer)
    if forwarded and str(address) in limits.proxies:
        address = _address(forwarded.rpartition(",")[2].strip()) or address
    if address is None or (address.is_loopback and not limits.limits_loopback and not forwarded):
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address), 64), strict=False))
    return str(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
