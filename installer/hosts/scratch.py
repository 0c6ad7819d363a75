"""The run folder: where secrets may lie while a run lasts, and not a moment longer.

In memory (a disk only where there is no /dev/shm), private, removed at the end. A killed process cannot remove its own:
each folder is locked by its process, and the next run removes those whose lock is gone.

>>> with run_folder() as folder:
...     ...
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - the folder made in it is random and 0700
PREFIX = "dryport-run-"


@contextmanager
def run_folder(base: Path | None = None) -> Iterator[Path]:
    """Give a private folder, and remove it with all that it holds; those of killed processes are removed first."""
    if base is None:
        base = MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())
    for left in base.glob(f"{PREFIX}*"):
        _remove_if_left(left)
    folder, handle = _held(base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _held(base: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.exists():
            return folder, handle
        os.close(handle)  # another run took it for one that was left, in the moment before it was locked


def _remove_if_left(folder: Path) -> None:
    """Remove a folder of ours that no process holds any more."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # gone meanwhile, or no folder
    try:
        if os.fstat(handle).st_uid == os.geteuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # its process lives
    finally:
        os.close(handle)
