"""A shell on a machine that runs containers: one of a site's hosts by SSH, or this machine behind a command.

The script reads from us and writes to us for as long as it runs. When this process ends, however it ends, the pipe
closes, the script's `read` ends, and the script's own trap clears up: nothing is left on the node.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from installer.hosts.ssh import SSH_FAILED, Ssh
from installer.targets.base import Host
from registry.errors import HostError


class Node(Protocol):
    """Where a script can run as root."""

    def command(self, script: str) -> Sequence[str]:
        """Return the argument list that runs a POSIX shell script, joined to our standard input and output."""
        ...

    def failure(self, code: int, said: str) -> HostError:
        """Return the error for a script that ended by itself, too early."""
        ...


@dataclass(frozen=True, slots=True)
class LocalNode:
    """This machine, or what a command in front (`ip netns exec NODE`, `podman exec -i NODE`) leads into."""

    prefix: Sequence[str] = ()

    def command(self, script: str) -> Sequence[str]:
        """Return the argument list that runs a POSIX shell script."""
        return [*self.prefix, "/bin/sh", "-c", script]

    def failure(self, code: int, said: str) -> HostError:
        """Return the error for a script that ended by itself, too early."""
        return _ended(str(self), code, said)

    def __str__(self) -> str:
        return shlex.join(self.prefix) or "this machine"


@dataclass(frozen=True, slots=True)
class SshNode:
    """A host of a site, under the site's pinned keys; another user than root goes through `sudo`."""

    ssh: Ssh
    host: Host

    def command(self, script: str) -> Sequence[str]:
        """Return the argument list that runs a POSIX shell script."""
        words = ["/bin/sh", "-c", script] if self.host.user == "root" else ["sudo", "-n", "/bin/sh", "-c", script]
        return self.ssh.command(self.host, shlex.join(words))

    def failure(self, code: int, said: str) -> HostError:
        """Return the error for a script that ended by itself, too early."""
        return self.ssh.failure(self.host, said) if code == SSH_FAILED else _ended(str(self), code, said)

    def __str__(self) -> str:
        return str(self.host)


def _ended(where: str, code: int, said: str) -> HostError:
    return HostError(
        "node-ended",
        "the node did not do what the proof needs",
        where=where,
        seen=" ".join(said.split())[-400:] or f"exit code {code}",
        hint="the proof runs as root, and needs sh, mktemp, sed and getent there",
    )
