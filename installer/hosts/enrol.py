"""Enrolment: which SSH keys the hosts show, and which of them the site pins.

A key is pinned only when somebody confirmed its fingerprint, read at the host's own console (`ssh-keygen -lf
/etc/ssh/ssh_host_ed25519_key.pub`). A pinned key that changed is an error that names both; nothing replaces it but an
explicit request.

>>> enrol.scan(host)
(HostKey(kind='ssh-ed25519', ...),)
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from installer.targets.base import Host
from registry.errors import HostError, UsageError
from registry.store import durable

SCAN_SECONDS = 10.0
KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512")
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public host key."""

    kind: str
    data: bytes

    @property
    def fingerprint(self) -> str:
        """The fingerprint as ssh-keygen prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.data).digest()).decode().rstrip("=")


def scan(host: Host) -> tuple[HostKey, ...]:
    """Return the keys that a host shows, ed25519 first; none of them is trusted yet. Raises HostError."""
    import paramiko  # noqa: PLC0415 - slow to import, needed by enrolment alone

    found: dict[bytes, HostKey] = {}
    trouble = ""
    for kind in KINDS:
        try:
            with socket.create_connection((host.address, host.port), SCAN_SECONDS) as link:
                transport = paramiko.Transport(link)
                transport.set_log_channel(_quiet())
                try:
                    transport.get_security_options().key_types = (kind,)
                    transport.start_client(timeout=SCAN_SECONDS)
                    key = transport.get_remote_server_key()
                    found[key.asbytes()] = HostKey(key.get_name(), key.asbytes())
                finally:
                    transport.close()
        except OSError as error:
            trouble = str(error)
            break
        except (paramiko.SSHException, EOFError) as error:  # this kind of key is not offered, or the line was cut
            trouble = str(error) or "the host closed the connection"
    if not found:
        raise HostError(
            "host-unreachable",
            f"{host.name} shows no SSH host key",
            where=str(host),
            seen=trouble,
            hint="see that the host runs and its sshd answers, then enrol again",
        )
    return tuple(found.values())


def _quiet() -> str:
    """Return a log channel that nobody hears: a kind of key that a host lacks is no event."""
    channel = logging.getLogger("installer.hosts.enrol.scan")
    channel.setLevel(logging.CRITICAL + 1)
    return channel.name


def pinned(host: Host, known_hosts: Path) -> tuple[HostKey, ...]:
    """Return the keys that the site pinned for a host."""
    keys = []
    for line in known_hosts.read_bytes().decode().splitlines() if known_hosts.exists() else []:
        place, kind, data = line.split()[:3]
        if place == host.place:
            keys.append(HostKey(kind, base64.b64decode(data)))
    return tuple(keys)


def choose(host: Host, shown: Sequence[HostKey], confirmed: Sequence[str]) -> tuple[HostKey, ...]:
    """Return those shown keys whose fingerprints were confirmed. Raises HostError if one is not shown."""
    by_print = {key.fingerprint: key for key in shown}
    if missing := [one for one in confirmed if one not in by_print]:
        raise HostError(
            "host-key-mismatch",
            f"{host.name} does not show the key that was confirmed",
            where=str(host),
            expected=", ".join(missing),
            seen=", ".join(by_print),
            hint="read the fingerprint at the host's console; if it really differs, somebody stands in between",
        )
    return tuple(by_print[one] for one in dict.fromkeys(confirmed))


def confirmations(texts: Sequence[str], hosts: Sequence[Host]) -> Mapping[str, tuple[str, ...]]:
    """Return what `--fingerprint host=SHA256:...` options say, by host. Raises UsageError."""
    known = {host.name for host in hosts}
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, _, print_ = text.partition("=")
        if name not in known or not FINGERPRINT.fullmatch(print_):
            raise UsageError(
                "fingerprint-malformed",
                "not a fingerprint of a host of this site",
                seen=text,
                expected="HOST=SHA256:... with a host of: " + ", ".join(sorted(known)),
                hint="read it at the host's console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            )
        found[name] = (*found.get(name, ()), print_)
    return found


def pin(host: Host, keys: Sequence[HostKey], known_hosts: Path, *, replace: bool = False) -> bool:
    """Make `keys` the pinned keys of a host; return whether that changed anything.

    Raises HostError if other keys are pinned and `replace` is not asked for.
    """
    before = pinned(host, known_hosts)
    if set(keys) <= set(before) and not replace:
        return False
    if before and not replace:
        raise changed(host, before, keys)
    lines = known_hosts.read_bytes().decode().splitlines() if known_hosts.exists() else []
    kept = [line for line in lines if line.split()[0] != host.place]
    kept += [f"{host.place} {key.kind} {base64.b64encode(key.data).decode()}" for key in keys]
    durable.replace(known_hosts, "".join(f"{line}\n" for line in kept).encode(), 0o600)
    return set(before) != set(keys)


def changed(host: Host, before: Sequence[HostKey], now: Sequence[HostKey]) -> HostError:
    """Return the error for a host whose key is not the pinned one."""
    return HostError(
        "host-key-changed",
        f"{host.name} shows another key than the pinned one",
        where=str(host),
        expected=", ".join(key.fingerprint for key in before),
        seen=", ".join(key.fingerprint for key in now) or "(the host shows none now)",
        hint="if the host was rebuilt, read the new fingerprint at its console, then: "
        f"dryport site enrol site.yaml --replace {host.name} --fingerprint {host.name}=SHA256:...",
    )


def key_error(host: Host, known_hosts: Path) -> HostError:
    """Return why ssh refused a host's key: it changed, or none was ever pinned."""
    before = pinned(host, known_hosts)
    if not before:
        return HostError(
            "host-not-enrolled",
            f"no key of {host.name} is pinned",
            where=str(host),
            hint="dryport site enrol site.yaml",
        )
    try:
        now = scan(host)
    except HostError:
        now = ()
    return changed(host, before, now)
