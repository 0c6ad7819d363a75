"""Facts of a host, gathered by one POSIX shell script in one SSH call: the host may have no Python.

A fact that could not be read is None; whoever judges it calls it unknown, never fine.

>>> gather(ssh, host, ports=(5000,)).architecture
'x86_64'
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from installer.hosts.ssh import Ssh
from installer.targets.base import Host
from registry.errors import HostError

LOOK = (Path(__file__).parent / "facts.sh").read_text()
"""Runs on hosts, by any POSIX shell; changes nothing but for a file of 225 KiB that it writes and removes."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a host says of itself."""

    os_id: str | None = None
    os_version: str | None = None
    architecture: str | None = None
    init: str | None = None
    privilege: str | None = None
    """`root`, `sudo` (without a password) or `none`."""
    skew: float | None = None
    """Seconds by which the host's clock is ahead of ours, as far as the round trip lets us know."""
    python: str | None = None
    kit: str | None = None
    """Digest (hex) of the kit that runs there."""
    registry: str | None = None
    """What systemd says of dryport-registry.service."""
    free: Mapping[str, int] = field(default_factory=dict)
    """Free bytes by folder."""
    ports: Mapping[int, bool] = field(default_factory=dict)
    """Whether nobody listens on a port."""
    kernel: str | None = None
    cpus: int | None = None
    cpu_flags: frozenset[str] | None = None
    memory: int | None = None
    """Bytes."""
    inodes: Mapping[str, int] = field(default_factory=dict)
    """Files that can still be made, by folder."""
    sync_ms: float | None = None
    """Milliseconds until a write of 2300 bytes below /var/lib is safe, in the mean of a hundred."""
    links: frozenset[str] | None = None
    """Folders of ours that are symbolic links."""
    temporary: str | None = None
    """`writable` or `not writable`."""
    hostname: str | None = None
    machine: str | None = None
    addresses: frozenset[str] | None = None
    default_route: bool | None = None
    nameservers: tuple[str, ...] | None = None
    searches: tuple[str, ...] | None = None
    wildcard: str | None = None
    """A search domain that answers a name that nobody has; empty if there is none."""
    synchronised: bool | None = None
    services: frozenset[str] | None = None
    """Running services that may be in the way."""
    dpkg_broken: bool | None = None
    reach: Mapping[str, str] = field(default_factory=dict)
    """What became of a connection, by `ADDRESS/PORT`: `open`, `refused`, or why there was none."""


_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_DIGITS = 19


def parse(text: str, *, clock: float) -> Facts:
    """Return the facts in the script's output; `clock` is our time in the middle of the call."""
    lines = dict(line.partition("=")[::2] for line in text.splitlines())
    if lines.get("end") != "yes":
        return Facts()
    said = {name: value for name, value in lines.items() if value}
    seconds, spent = said.get("time", ""), said.get("sync.ms", "")
    return Facts(
        os_id=said.get("os.id"),
        os_version=said.get("os.version"),
        architecture=said.get("architecture"),
        init=said.get("init"),
        privilege=said.get("privilege"),
        skew=int(seconds) + 0.5 - clock if seconds.isdecimal() else None,  # `date` cuts the fraction off
        python=said.get("python"),
        kit=said.get("kit"),
        registry=said.get("registry"),
        free={name: count * 1024 for name, count in _numbered(said, "free.").items()},
        ports={int(name): value == "free" for name, value in _below(said, "port.").items() if name.isdecimal()},
        kernel=said.get("kernel"),
        cpus=_number(said.get("cpus")),
        cpu_flags=_words(lines.get("cpu.flags")),
        memory=count * 1024 if (count := _number(said.get("memory"))) is not None else None,
        inodes=_numbered(said, "inodes."),
        sync_ms=float(spent) if _DECIMAL.fullmatch(spent) else None,
        links=_words(lines.get("links")),
        temporary=said.get("temporary"),
        hostname=said.get("hostname"),
        machine=said.get("machine"),
        addresses=_words(said.get("addresses")),
        default_route=_yes(said.get("route.default")),
        nameservers=_row(lines.get("dns.servers")),
        searches=_row(lines.get("dns.search")),
        wildcard=lines.get("dns.wildcard"),
        synchronised=_yes(said.get("synchronised")),
        services=_words(lines.get("services")),
        dpkg_broken=_yes(said.get("dpkg.broken")),
        reach=_below(said, "reach."),
    )


def _below(said: Mapping[str, str], prefix: str) -> Mapping[str, str]:
    return {name.removeprefix(prefix): value for name, value in said.items() if name.startswith(prefix)}


def _numbered(said: Mapping[str, str], prefix: str) -> Mapping[str, int]:
    return {name: int(value) for name, value in _below(said, prefix).items() if _number(value) is not None}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < _DIGITS else None


def _row(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split())


def _words(text: str | None) -> frozenset[str] | None:
    return None if text is None else frozenset(text.split())


def _yes(text: str | None) -> bool | None:
    return None if text not in {"yes", "no"} else text == "yes"


def gather(ssh: Ssh, host: Host, ports: Sequence[int], peers: Sequence[str] = ()) -> Facts:
    """Return a host's facts. Raises HostError if it cannot be reached."""
    script = f"PORTS={quote(' '.join(map(str, ports)))}\nPEERS={quote(' '.join(peers))}\n{LOOK}"
    before = time.time()
    answer = ssh.run(host, script)
    return parse(answer.output, clock=(before + time.time()) / 2)


def gather_all(
    hosts: Sequence[Host], gather_one: Callable[[Host], Facts], *, parallel: int = 16
) -> Mapping[str, Facts | HostError]:
    """Return every host's facts, or why there are none; hosts are asked side by side."""

    def attempt(host: Host) -> Facts | HostError:
        try:
            return gather_one(host)
        except HostError as error:
            return error

    with ThreadPoolExecutor(max_workers=max(1, min(parallel, len(hosts)))) as pool:
        return dict(zip((host.name for host in hosts), pool.map(attempt, hosts), strict=True))
