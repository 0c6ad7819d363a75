"""Programs of Debian packages that are not installed: a daemon's package would start it wherever the tests run.

The package comes from the machine's own apt, which checks it, and is unpacked below `build/debian/`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build/debian"


class DebianError(Exception):
    """A package cannot be had here; the message says why."""


def unpacked(package: str) -> Path:
    """Return the folder with a package's files, as if it were the root. Raises DebianError."""
    root = FOLDER / package
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        part = root.with_suffix(".part")
        _run(["apt-get", "download", "-qq", package], FOLDER)
        (archive,) = FOLDER.glob(f"{package}_*.deb")
        _run(["dpkg-deb", "-x", archive.name, part.name], FOLDER)
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
