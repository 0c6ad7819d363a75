r"""OpenSSH's `ssh` with the site's own rules: pinned keys only, nothing asked, nothing waited for without end.

Every later use of SSH (facts, forwards, Ansible) takes its options from here. The user's own configuration and agent
are left out, so that a run is the same on every machine.

>>> Ssh(home.known_hosts).run(host, "uname -r").output
'6.1.0-18-amd64\n'
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from installer.hosts import enrol
from installer.targets.base import Host
from registry.errors import HostError

SSH_FAILED = 255
CONNECT_SECONDS = 10
RUN_SECONDS = 60
_UNREACHABLE = re.compile(
    r"Connection (refused|timed out|closed|reset)|No route to host|Network is unreachable|Could not resolve|"
    r"Operation timed out|Broken pipe|kex_exchange_identification|not responding",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command on a host gave."""

    code: int
    output: str
    errors: str


@dataclass(frozen=True, slots=True)
class Ssh:
    """SSH under one site's pinned keys."""

    known_hosts: Path
    control: Path | None = None
    """Folder of control sockets: connections made by a forward are shared by all that follows."""

    def options(self, host: Host) -> list[str]:
        """Return the options that every connection to `host` has."""
        options = {
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _quoted(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "PasswordAuthentication": "no",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": "10",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
        }
        if self.control:
            options |= {"ControlMaster": "no", "ControlPath": _quoted(self.socket(host))}
        return ["-F", "/dev/null", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]

    def socket(self, host: Host) -> Path:
        """Return where the shared connection to `host` listens."""
        return (self.control or Path()) / host.name

    def command(self, host: Host, *words: str) -> list[str]:
        """Return the argument list that runs `words` on `host`."""
        target = ["-p", str(host.port), "-i", str(host.key), "-l", host.user, "--", host.address]
        return ["ssh", *self.options(host), *target, *words]

    def run(self, host: Host, script: str, *, seconds: float = RUN_SECONDS, as_root: bool = False) -> Answer:
        """Run a POSIX shell script on `host`, given on standard input. Raises HostError if SSH itself fails."""
        sudo = ("sudo", "-n") if as_root and host.user != "root" else ()
        try:
            done = subprocess.run(
                self.command(host, *sudo, "/bin/sh", "-s"),
                input=script.encode(),
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise HostError(
                "host-unreachable",
                f"{host.name} did not answer within {seconds:.0f} s",
                where=str(host),
                hint="see that the host runs and its sshd answers, then run the same command again",
            ) from error
        answer = Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if answer.code == SSH_FAILED:
            raise self.failure(host, answer.errors)
        return answer

    def failure(self, host: Host, said: str) -> HostError:
        """Return the error that fits what ssh said before it gave up."""
        seen = " ".join(said.split())[-400:]
        if "HOST IDENTIFICATION HAS CHANGED" in said or "Host key verification failed" in said:
            return enrol.key_error(host, self.known_hosts)
        if "Permission denied" in said or "Too many authentication failures" in said:
            return HostError(
                "host-login-refused",
                f"{host.name} does not let {host.user} in with the declared key",
                where=str(host),
                expected=f"the public half of {host.key} in ~{host.user}/.ssh/authorized_keys",
                seen=seen,
                hint="put the public key there, or name the right key in site.yaml",
            )
        if _UNREACHABLE.search(said):
            return HostError(
                "host-unreachable",
                f"{host.name} does not answer",
                where=str(host),
                seen=seen,
                hint="see that the host runs and its sshd answers, then run the same command again",
            )
        return HostError(
            "host-ssh-failed", f"ssh to {host.name} ended", where=str(host), seen=seen, hint="try the ssh login by hand"
        )


def _quoted(path: Path) -> str:
    """Return a path as ssh's own option parser wants it: quoted for its spaces, with no `%` to expand."""
    return '"' + str(path).replace("%", "%%") + '"'
