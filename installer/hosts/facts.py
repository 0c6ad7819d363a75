"""Facts of a host, gathered by one POSIX shell script in one SSH call: the host may have no Python.

A fact that could not be read is None; whoever judges it calls it unknown, never fine.

>>> gather(ssh, host, ports=(5000,)).architecture
'x86_64'
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from installer.hosts.ssh import Ssh
from installer.targets.base import Host
from registry.errors import HostError

_SCRIPT = r"""
say() { printf '%s=%s\n' "$1" "$2"; }
( . /etc/os-release && say os.id "$ID" && say os.version "$VERSION_ID" ) 2>/dev/null
say architecture "$(uname -m)"
say init "$(cat /proc/1/comm 2>/dev/null)"
say uid "$(id -u)"
[ "$(id -u)" = 0 ] && say privilege root || { sudo -n true 2>/dev/null && say privilege sudo || say privilege none; }
say time "$(date +%s)"
say python "$(command -v python3 2>/dev/null)"
say machine "$(cat /etc/machine-id 2>/dev/null)"
say kit "$(basename "$(readlink /opt/dryport/kit/current 2>/dev/null)" 2>/dev/null)"
say registry "$(systemctl is-active dryport-registry.service 2>/dev/null)"
for folder in /var/lib /opt; do
  say "free.$folder" "$(df -Pk "$folder" 2>/dev/null | { read -r _; read -r _ _ _ free _; echo "$free"; })"
done
for port in $PORTS; do
  hex=$(printf '%04X' "$port")
  [ -r /proc/net/tcp ] || continue
  if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qE "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:[0-9A-F]+ 0A "
  then say "port.$port" taken
  else say "port.$port" free
  fi
done
say end yes
"""


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


def parse(text: str, *, clock: float) -> Facts:
    """Return the facts in the script's output; `clock` is our time in the middle of the call."""
    lines = dict(line.partition("=")[::2] for line in text.splitlines())
    if lines.get("end") != "yes":
        return Facts()
    said = {name: value for name, value in lines.items() if value}

    def folders() -> Mapping[str, int]:
        found = {name.removeprefix("free."): value for name, value in said.items() if name.startswith("free.")}
        return {name: int(value) * 1024 for name, value in found.items() if value.isdecimal()}

    def ports() -> Mapping[int, bool]:
        found = {name.removeprefix("port."): value for name, value in said.items() if name.startswith("port.")}
        return {int(name): value == "free" for name, value in found.items() if name.isdecimal()}

    seconds = said.get("time", "")
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
        free=folders(),
        ports=ports(),
    )


def gather(ssh: Ssh, host: Host, ports: Sequence[int]) -> Facts:
    """Return a host's facts. Raises HostError if it cannot be reached."""
    script = f"PORTS='{' '.join(map(str, ports))}'\n{_SCRIPT}"
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
