"""Apt's programs, run as they are on this machine, without its language and without asking anything."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

from registry.errors import SiteError


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of apt's programs to its end; its exit code is the caller's to judge. Raises SiteError without apt."""
    # `env` sets the language for the child alone: apt's words are matched and shown in English.
    command = ["env", "LC_ALL=C.UTF-8", program, *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise _absent(program) from error
    if done.returncode == 127:  # noqa: PLR2004 - env's word for "no such program"
        raise _absent(program)
    return done


def setting(name: str) -> str:
    """Return the machine's apt setting `name` (`/f` and `/d` make a path of it), empty if it is not set."""
    words = shlex.split(run("apt-config", "shell", "VALUE", name).stdout)
    return words[0].partition("=")[2] if words else ""


def complaints(done: subprocess.CompletedProcess[str]) -> str:
    """Return what apt said was wrong: its error and warning lines, and why dependencies do not fit."""
    lines = [line for line in done.stderr.splitlines() if line[:2] in {"E:", "W:"}]
    return "; ".join([*_unmet(done.stdout.splitlines()), *lines]) or done.stderr.strip()[-500:]


def _unmet(lines: Sequence[str]) -> Sequence[str]:
    start = next((at for at, line in enumerate(lines, 1) if "unmet dependencies" in line), len(lines))
    return [" ".join(line.split()) for line in lines[start:] if line.startswith(" ")]


def _absent(program: str) -> SiteError:
    return SiteError(
        "apt-absent",
        f"{program} is not on this machine",
        hint="Debian packages are locked and fetched on Debian or Ubuntu; run this there",
    )
