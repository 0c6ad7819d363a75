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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import desk, podman
from tests.lab.demo.script import KIT_FOLDER, Folders, typed


class StepFailedError(RuntimeError):
    """A shown command did not succeed; its own words are on the screen already."""


@dataclass(frozen=True, slots=True)
class Isolated:
    """A place behind the gap. `prefix` puts a command there, into `work`; `stick` and `paper` are seen from there."""

    prefix: tuple[str, ...]
    stick: str
    paper: str
    work: Path
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
        print(f"{typed(command, 'isolated')} &", flush=True)
        keep = f"echo $$ > background.pid; exec {shlex.join(command)}"
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
            self.read("/bin/sh", "-c", "kill $(cat background.pid) && rm background.pid")
            process.wait(timeout=30)

    def _words(self, command: Sequence[str]) -> list[str]:
        return [*self.prefix, *command]


def shown(command: Sequence[str], words: Sequence[str], where: str, *, quiet: bool = False) -> None:
    """Print a command with the side it runs on, and run it; `quiet` drops its result. Raises StepFailedError."""
    print(typed(command, where), flush=True)
    output = subprocess.DEVNULL if quiet else None
    done = subprocess.run(words, env=podman.environment(), stdin=subprocess.DEVNULL, stdout=output, check=False)
    if code := done.returncode:
        raise StepFailedError(f"exit {code}: {shlex.join(command)}")


def at_desk(name: str, state: Path, at: Folders) -> Isolated:
    """Return the operator's machine of a lab that is up; it is started when it does not run."""
    container = desk.container(name)
    if not podman.run("ps", "--filter", f"name=^{container}$", "--format", "{{.Names}}"):
        desk.up(name, state, [at.stick, at.paper])
    own = {"PATH": f"{desk.HOME}/{KIT_FOLDER}/bin:{desk.SETTINGS['PATH']}"}
    settings = [f"{key}={value}" for key, value in {**desk.SETTINGS, **own}.items()]
    prefix = (*podman.PROGRAM, "exec", "--workdir", desk.HOME, container, "/usr/bin/env", "-i", *settings)
    pid = json.loads(podman.run("inspect", container))[0]["State"]["Pid"]
    network = ("nsenter", f"--net=/proc/{pid}/ns/net")
    return Isolated(prefix, f"/media/{at.stick.name}", f"/media/{at.paper.name}", Path(desk.HOME), network)


@contextlib.contextmanager
def in_namespace(at: Folders) -> Iterator[Isolated]:
    """Give this machine's file system behind a network of its own, as far as this user may make one."""
    work = (at.root / "isolated").resolve()
    work.mkdir(parents=True, exist_ok=True)
    path = f"PATH={work}/{KIT_FOLDER}/bin:/usr/bin:/bin"
    bare = ("/usr/bin/env", "-i", f"--chdir={work}", f"HOME={work}", path, "LANG=C.UTF-8")
    places = (f"../{at.stick.name}", f"../{at.paper.name}", work)
    unshare = ["unshare", "--map-root-user", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 86400"]
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield Isolated(bare, *places, ())
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
        yield Isolated((*network, *bare), *places, network)
    finally:
        with contextlib.suppress(ProcessLookupError):
            holder.send_signal(signal.SIGTERM)
        holder.wait(timeout=10)
