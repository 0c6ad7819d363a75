"""Whether a store, or a folder, has room for what is to come, asked before a byte of it moves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from registry.content import Content, Located
from registry.errors import SiteError
from registry.store.durable import SHARED_BLOCK

if TYPE_CHECKING:
    from registry.store.store import Store


def check_space(store: Store, sizes: Iterable[int], contents: Iterable[Content | None]) -> None:
    """Raise SiteError `space-short` if blobs of these sizes do not fit into a store.

    The need is an upper bound: a copy of each. Sharing disk is not counted on; only where there is no room for copies
    are `contents` opened, the largest first, and only what this very store is seen to share with them is taken off.
    """
    check_free(store.folder, sizes, lambda: _shareable(store, contents))


def check_free(folder: Path, sizes: Iterable[int], spared: Callable[[], int] = lambda: 0) -> None:
    """Raise SiteError `space-short` if blobs of these sizes do not fit; `spared` is asked only where they do not."""
    about = os.statvfs(folder)
    free = about.f_bavail * about.f_frsize
    needed = sum(-(-size // about.f_frsize) * about.f_frsize for size in sizes)
    if not about.f_blocks or needed <= free:  # some file systems do not say how large they are
        return
    needed -= spared()
    if needed > free:
        raise SiteError(
            "space-short",
            "there is too little free space for what is not there yet",
            where=str(folder),
            expected=f"{needed} bytes free",
            seen=f"{free} bytes free",
            hint=f"free {needed - free} bytes there, or name fewer repositories; nothing was copied",
        )


def _shareable(store: Store, contents: Iterable[Content | None]) -> int:
    """Return how many bytes need no disk; where the first content lies in no file, none does."""
    found = 0
    for content in contents:
        if content is None:
            continue
        try:
            if not isinstance(content, Located):
                break
            if (extent := content.extent) and store.files.can_share(extent):
                found += content.size - content.size % SHARED_BLOCK
        finally:
            content.close()
    return found
