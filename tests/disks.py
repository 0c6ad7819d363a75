"""Real file systems of their own on loop devices, for tests that ask what a disk holds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import absent, need, need_root

MAKE = {"xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"), "btrfs": ("mkfs.btrfs", "-q"), "ext4": ("mkfs.ext4", "-q", "-F")}


@contextmanager
def disk(folder: Path, kind: str, size: int) -> Iterator[Path]:
    """Give a mounted file system of `size` bytes, kept sparse below `folder`. Skips where this machine cannot."""
    need_root()
    need(MAKE[kind][0], "mount", "umount")
    image, place = folder / f"{kind}.img", folder / kind
    with image.open("xb") as file:
        file.truncate(size)
    place.mkdir()
    subprocess.run([*MAKE[kind], str(image)], check=True, timeout=60, capture_output=True)
    _mount(image, place)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=60)
        image.unlink()


def cut_power(place: Path) -> None:
    """Let an XFS lose all that it had not written yet, and mount it again as after a power cut."""
    need("xfs_io")
    subprocess.run(["xfs_io", "-x", "-c", "shutdown", str(place)], check=True, timeout=60)
    subprocess.run(["umount", str(place)], check=True, timeout=60)
    _mount(place.with_suffix(".img"), place)


def used(place: Path) -> int:
    """Return how many bytes of a file system are in use, with nothing left in memory (what `df` shows)."""
    subprocess.run(["sync", "--file-system", str(place)], check=True, timeout=120)
    about = os.statvfs(place)
    return (about.f_blocks - about.f_bfree) * about.f_frsize


def _mount(image: Path, place: Path) -> None:
    command = ["mount", "-o", "loop", str(image), str(place)]
    done = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
    if done.returncode:
        absent(f"a file system on a loop device cannot be mounted here: {done.stderr.strip()}")
