"""Podman as the lab calls it: fixed runtime and cgroup driver, the lab's own limits, and an end to every wait.

crun and systemd cgroups need a machine that runs systemd itself; runc with cgroupfs works on any. The settings travel
in the environment of each call, so the machine's own podman is left as it is.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAM = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")
LABEL = "dryport-lab"
"""Label of everything the lab makes; its value is the lab's name."""


class LabError(RuntimeError):
    """A counterpart could not be raised or removed; the text holds what the program said."""


def environment() -> dict[str, str]:
    """Return the environment of each podman call."""
    return os.environ | {"CONTAINERS_CONF": str(Path(__file__).with_name("containers.conf"))}


def run(*arguments: str, seconds: float = 60) -> str:
    """Run a podman command and return what it printed. Raises LabError."""
    command = [*PROGRAM, *arguments]
    try:
        done = subprocess.run(
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise LabError(f"{' '.join(command)}: no end after {seconds:.0f} s") from late
    if done.returncode:
        raise LabError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def inside(
    container: str,
    *command: str,
    settings: dict[str, str] | None = None,
    stdin: bytes | None = None,
    user: str = "root",
    seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a container with nothing in its environment but `settings`; the caller judges the exit code."""
    listed = [f"{name}={value}" for name, value in (settings or {}).items()]
    call = [*PROGRAM, "exec", *(["-i"] if stdin is not None else []), "--user", user, container, "/usr/bin/env", "-i"]
    done = subprocess.run(
        [*call, *listed, *command],
        env=environment(),
        input=stdin if stdin is not None else b"",
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    return subprocess.CompletedProcess(
        list(command), done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def within(seconds: float, claim: Callable[[], bool], what: str) -> None:
    """Wait until a claim holds. Raises LabError after `seconds`."""
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            raise LabError(f"gave up after {seconds:.0f} s: {what}")
        time.sleep(0.05)
