"""Where the demonstration's isolated half runs: the operator's machine of a lab, or a bare network namespace.

Both run commands with an empty environment and without a way out. A command is shown as one would type it, its output
as it comes. `at_desk` wants root and podman; `in_namespace` wants neither: it is this machine's own file system with no
network but a loopback of its own, or, where user namespaces are forbidden, with the machine's network left as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import desk, podman


class StepFailedError(RuntimeError):
    """A shown command did not succeed; its own words are on the screen already."""


@dataclass(frozen=True, slots=True)
class Isolated:
    """A place behind the gap. `prefix` puts a command there; `media` and `work` are folders as seen from inside."""

    prefix: tuple[str, ...]
    media: str
    work: str
    network: tuple[str, ...]
    """Puts a program of this machine onto that place's network, with the file system left alone."""

    def show(self, *command: str) -> None:
        """Print and run a command. Raises StepFailedError."""
        shown(command, self._words(command), "isolated")

    def read(self, *command: str) -> str:
        """Run a command silently and return what it printed. Raises StepFailedError."""
        done = subprocess.run(
            self._words(command), capture_output=True, text=True, env=podman.environment(), check=False
        )
        if done.returncode:
            raise StepFailedError(f"{shlex.join(command)}: {done.stderr.strip()}")
        return done.stdout

    @contextlib.contextmanager
    def background(self, *command: str, log: Path) -> Iterator[None]:
        """Print and start a command; end it, by its pid, when the block ends."""
        sys.stdout.write(f"  isolated $ {shlex.join(command)} &\n")
        sys.stdout.flush()
        pid_file = f"{self.work}/background.pid"
        keep = f"echo $$ > {shlex.quote(pid_file)}; exec {shlex.join(command)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._words(["/bin/sh", "-c", keep]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=podman.environment(),
            )
        try:
            yield
        finally:
            self.read("/bin/sh", "-c", f"kill $(cat {shlex.quote(pid_file)}) && rm {shlex.quote(pid_file)}")
            process.wait(timeout=30)

    def _words(self, command: Sequence[str]) -> list[str]:
        return [*self.prefix, *command]


def shown(command: Sequence[str], words: Sequence[str], where: str) -> None:
    """Print a command with the side it runs on, and run it. Raises StepFailedError."""
    sys.stdout.write(f"  {where} $ {shlex.join(command)}\n")
    sys.stdout.flush()
    if code := subprocess.run(words, env=podman.environment(), stdin=subprocess.DEVNULL, check=False).returncode:
        raise StepFailedError(f"exit {code}: {shlex.join(command)}")


def at_desk(name: str, state: Path, media: Path) -> Isolated:
    """Return the operator's machine of a lab that is up; it is started when it does not run."""
    container = desk.container(name)
    if not podman.run("ps", "--filter", f"name=^{container}$", "--format", "{{.Names}}"):
        desk.up(name, state, [media])
    settings = [f"{key}={value}" for key, value in desk.SETTINGS.items()]
    prefix = (*podman.PROGRAM, "exec", "--workdir", desk.HOME, container, "/usr/bin/env", "-i", *settings)
    pid = json.loads(podman.run("inspect", container))[0]["State"]["Pid"]
    network = ("nsenter", f"--net=/proc/{pid}/ns/net")
    return Isolated(prefix, f"/media/{media.name}", desk.HOME, network)


@contextlib.contextmanager
def in_namespace(work: Path, media: Path) -> Iterator[Isolated]:
    """Give this machine's file system behind a network of its own, as far as this user may make one."""
    work.mkdir(parents=True, exist_ok=True)
    bare = ("/usr/bin/env", "-i", f"HOME={work}", "PATH=/usr/bin:/bin", "LANG=C.UTF-8")
    unshare = ["unshare", "--map-root-user", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 86400"]
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield Isolated(bare, str(media), str(work), ())
        return
    holder = subprocess.Popen(unshare, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        is_up = holder.stdout is not None and holder.stdout.readline().strip() == "up"
        enter = (
            ("nsenter", f"--user=/proc/{holder.pid}/ns/user", "--preserve-credentials")
            if os.geteuid()
            else ("nsenter",)
        )
        network = (*enter, f"--net=/proc/{holder.pid}/ns/net") if is_up else ()
        yield Isolated((*network, *bare), str(media), str(work), network)
    finally:
        with contextlib.suppress(ProcessLookupError):
            holder.send_signal(signal.SIGTERM)
        holder.wait(timeout=10)
