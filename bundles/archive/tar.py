"""The one tar header that a member of a bundle can have, and nothing else of tar.

* ustar (POSIX.1-1988), regular file, mode 0644, everything else zero or empty: one block.
* Before a large blob's header stands a pax header (POSIX.1-2001), made as long as it takes for the content to begin at
  a multiple of 4096 bytes, since file systems share their disk by such blocks. It holds a comment of spaces, which
  readers of tar ignore, and the size where that has more than eleven octal digits.

A reader computes the header it expects and compares: it never interprets one, except for the two sizes it must learn
before the table is authenticated (`size_of`).
"""

from __future__ import annotations

import re

BLOCK = 512
END = bytes(2 * BLOCK)
USTAR_SIZE = 8**11 - 1
ALIGNMENT = 4096
"""The block of ext4, XFS and btrfs as they are made on nearly every machine."""
ALIGNED_SIZE = 64 << 10
"""From this size on content is aligned. That costs 1 to 4.5 KiB a blob: of a blob of this size 7 % at most, of a whole
archive such as Debian's 0.09 %, where smaller files, which are copied instead of shared, hold 0.8 % of the bytes."""
NAME_BYTES = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def padded(size: int) -> int:
    """Return `size` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def header_length(size: int, at: int) -> int:
    """Return how long the header of a blob is that begins at `at`: the content behind it is aligned if it is large.

    A later beginning never leads to an earlier content, so that a layout can be found by trying (`Layout.of_lock`).
    """
    shortest = 3 * BLOCK  # the pax header, one block of records, the member's own
    return BLOCK if size < ALIGNED_SIZE else shortest + -(at + shortest) % ALIGNMENT


def header(name: str, size: int, length: int = BLOCK) -> bytes:
    """Return the header blocks of a member, `length` bytes. Raises ValueError for a name no bundle may hold."""
    if len(name) > NAME_BYTES or not _NAME.fullmatch(name):
        raise ValueError(f"not a member's name: {name[:150]!r}")
    if length == BLOCK:
        return _block(name, size, b"0")
    room = length - 2 * BLOCK
    is_long = size > USTAR_SIZE
    records = _size_record(size) if is_long else b""
    comment = f"{room - len(records)} comment=".encode()  # a record begins with its own length
    records += comment.ljust(room - len(records) - 1) + b"\n"
    return _block("pax", room, b"x") + records + _block(name, 0 if is_long else size, b"0")


def size_of(name: str, block: bytes) -> int:
    """Return the size stated in a one-block header of the member `name`; ValueError if it is anything else."""
    field = block[124:135]
    if not re.fullmatch(rb"[0-7]{11}", field) or block != header(name, int(field, 8)):
        raise ValueError(f"expected the header of {name}, found {describe(block)}")
    return int(field, 8)


def describe(block: bytes) -> str:
    """Return words for what a header block seems to be; for error messages only."""
    if not any(block):
        return "zeros"
    name = block[:NAME_BYTES].rstrip(b"\0")
    if block[257:262] == b"ustar" and name.isascii():
        return f"a tar header for {name.decode()!r}"
    return "no tar header"


def _size_record(size: int) -> bytes:
    body = f" size={size}\n"
    length = len(body)
    while len(f"{length}{body}") != length:
        length = len(f"{length}{body}")
    return f"{length}{body}".encode()


def _block(name: str, size: int, kind: bytes) -> bytes:
    if not 0 <= size <= USTAR_SIZE:
        raise ValueError(f"{name} has {size} bytes, and no pax header that could say so")
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0" * 2,  # uid, gid
        b"%011o\0" % size,
        b"00000000000\0",  # mtime
        b" " * 8,  # checksum, filled below
        kind,
        bytes(100),  # link name
        b"ustar\x0000",
        bytes(64),  # owner names
        b"0000000\0" * 2,  # device numbers
        bytes(167),  # prefix and the block's rest
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
