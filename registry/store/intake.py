"""How content becomes the bytes of an empty file of a store: its disk is shared where that can be, else it is copied.

What is shared is hashed after it was taken, in the new file, so it is the stored bytes that are proven, whatever
happens to the old file meanwhile. If they are not right, or cannot be read, they are thrown away and the content is
asked for its bytes: it knows best what is wrong with them, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from registry.content import Content, Located
from registry.oci.digest import Digest
from registry.store import durable
from registry.store.faults import DigestMismatchError

BLOCK = 1 << 20
Tell = Callable[[int], object]
"""Is told how many bytes more are done; fewer than none, if they must be done again."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came into a store."""

    size: int
    shared: int
    """How many of its bytes lie on disk that another file has too."""


def write(handle: int, digest: Digest, chunks: Iterable[bytes]) -> int:
    """Write content into an empty file and return its size. Raises DigestMismatchError, OSError."""
    hasher, size = digest.hasher(), 0
    for chunk in chunks:
        hasher.update(chunk)
        durable.write_all(handle, chunk)
        size += len(chunk)
    seen = Digest(digest.algorithm, hasher.hexdigest())
    if seen != digest:
        raise DigestMismatchError(digest, seen)
    return size


def take(handle: int, digest: Digest, content: Content, tell: Tell) -> Taken:
    """Make content the bytes of an empty file. Raises DigestMismatchError, OSError, and what reading it raises."""
    at = content.extent if isinstance(content, Located) else None
    if at is not None and (shared := durable.share(at.handle, at.offset, at.size, handle)):
        if _holds(handle, digest, tell):
            return Taken(at.size, shared)
        os.ftruncate(handle, 0)
    return Taken(write(handle, digest, blocks(content, tell)), 0)


def blocks(content: Content, tell: Tell) -> Iterator[bytes]:
    """Yield all bytes of a content, fewer if it is shorter than it said."""
    offset = 0
    while offset < content.size and (block := content.read(offset, min(BLOCK, content.size - offset))):
        offset += len(block)
        tell(len(block))
        yield block


def _holds(handle: int, digest: Digest, tell: Tell) -> bool:
    """Say whether a file has a digest; not if its disk does not give its bytes."""
    hasher, offset = digest.hasher(), 0
    try:
        while block := os.pread(handle, BLOCK, offset):
            hasher.update(block)
            offset += len(block)
            tell(len(block))
        is_right = hasher.hexdigest() == digest.hex
    except OSError:
        is_right = False
    if not is_right:
        tell(-offset)
    return is_right
