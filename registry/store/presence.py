"""Who uses a store's folder: any number of processes at once, or one alone that makes its index."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.errors import SiteError

USERS = "index.users"


def join(folder: Path) -> int:
    """Say, for as long as the handle is open, that this process uses the store. Raises SiteError while it is remade."""
    being_made = SiteError(
        "store-being-made",
        "the store is being rebuilt or restored",
        where=str(folder),
        hint="wait until dryport registry rebuild or restore has ended, then start again",
    )
    return _locked(folder, fcntl.LOCK_SH, being_made)


@contextmanager
def unused(folder: Path) -> Iterator[None]:
    """Keep everybody from using the store in a folder. Raises SiteError if somebody does."""
    in_use = SiteError("store-in-use", "the store is in use", where=str(folder), hint="end the server and try again")
    handle = _locked(folder, fcntl.LOCK_EX, in_use)
    try:
        yield
    finally:
        os.close(handle)


def _locked(folder: Path, lock: int, refusal: SiteError) -> int:
    handle = os.open(folder / USERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise refusal from None
    return handle
