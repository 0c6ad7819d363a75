"""The operator's machine on the isolated side: a container beside the hosts, with what was carried in and nothing else.

No systemd, no package of PyPI, no way out. Bundle and kit are mounted read-only under /media, as from a stick; the
operator's SSH key is at /root/.ssh/id_ed25519; everything else in it is its own to write, and gone with it.

    python -m tests.lab.desk up --name try --state DIR --carry bundle.tar --carry kit.tar     (after hosts up)
    python -m tests.lab.desk run --name try -- ls /media
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab import images, podman

HOME = "/root"
SETTINGS: Mapping[str, str] = {"HOME": HOME, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that a command finds in its environment."""


def up(name: str, state: Path, carried: Sequence[Path]) -> str:
    """Start the operator's machine in a lab that is up, and return its container's name. Raises LabError."""
    image = images.ensure(images.OPERATOR)
    volumes = {path.resolve(): f"/media/{path.name}" for path in carried} | {state / "id": f"{HOME}/.ssh/id_ed25519"}
    address = json.loads((state / "lab.json").read_text())["operator"]
    podman.run(
        *("run", "--detach", "--name", container(name), "--hostname", "operator", "--label", f"{podman.LABEL}={name}"),
        *("--network", name, "--ip", address, "--dns", "none", "--stop-signal", "SIGKILL"),
        *(part for at, inner in volumes.items() for part in ("--volume", f"{at}:{inner}:ro")),
        image,
    )
    return container(name)


def container(name: str) -> str:
    """Return the name of a lab's operator container."""
    return f"{name}-operator"


def run(
    name: str,
    *command: str,
    settings: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a command at the operator's machine; the caller judges the exit code."""
    given = {**SETTINGS, **(settings or {})}
    return podman.inside(container(name), *command, settings=given, stdin=stdin, seconds=seconds)


def _attached(name: str, command: Sequence[str]) -> int:
    """Run a command with this terminal, for demonstrations."""
    terminal = ["--interactive", "--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else ["--interactive"]
    settings = [f"{key}={value}" for key, value in SETTINGS.items()]
    call = [*podman.PROGRAM, "exec", *terminal, container(name), "/usr/bin/env", "-i", *settings, *command]
    return subprocess.run(call, env=podman.environment(), check=False).returncode


def main() -> int:
    """Start the operator's machine, or run a command there."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.desk", description="The operator's machine of a lab.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    start = verbs.add_parser("up", help="start it in a lab whose hosts are up")
    start.add_argument("--state", type=Path, required=True)
    start.add_argument("--carry", type=Path, action="append", default=[], help="a file to find under /media")
    act = verbs.add_parser("run", help="run a command there, with an empty environment")
    act.add_argument("command", nargs="+")
    for each in (start, act):
        each.add_argument("--name", required=True)
    given = parser.parse_args()
    if given.verb == "run":
        return _attached(given.name, given.command)
    print(up(given.name, given.state, given.carry))
    return 0


if __name__ == "__main__":
    sys.exit(main())
