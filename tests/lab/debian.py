"""Programs of Debian packages that are not installed: a daemon's package would start it wherever the tests run.

The package comes from the machine's own apt, which checks it, and is unpacked below `build/debian/`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build/debian"


class DebianError(Exception):
    """A package cannot be had here; the message says why."""


def unpacked(*packages: str) -> Path:
    """Return the folder with the files of packages, as if it were the root. Raises DebianError."""
    root = FOLDER / "+".join(packages)
    if not root.is_dir():
        part = Path(f"{root}.part")
        part.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", "-qq", *packages], part)
        for archive in part.glob("*.deb"):
            _run(["dpkg-deb", "-x", archive.name, "."], part)
            archive.unlink()
        part.replace(root)
    return root


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DebianError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise DebianError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
