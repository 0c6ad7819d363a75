"""The one tar header that a member of a bundle can have, and nothing else of tar.

ustar (POSIX.1-1988), regular file, mode 0644, everything else zero or empty; a size above eleven octal digits stands in
a pax header (POSIX.1-2001) before it. A reader computes the header it expects and compares: it never interprets one,
except for the two sizes it must learn before the table is authenticated (`size_of`).
"""

from __future__ import annotations

import re

BLOCK = 512
END = bytes(2 * BLOCK)
USTAR_SIZE = 8**11 - 1
NAME_BYTES = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def padded(size: int) -> int:
    """Return `size` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def header(name: str, size: int) -> bytes:
    """Return all header blocks of a member. Raises ValueError for a name no bundle may hold."""
    if len(name) > NAME_BYTES or not _NAME.fullmatch(name):
        raise ValueError(f"not a member's name: {name[:150]!r}")
    if size <= USTAR_SIZE:
        return _block(name, size, b"0")
    record = _pax_record(size)
    body = record.ljust(padded(len(record)), b"\0")
    return _block("pax", len(record), b"x") + body + _block(name, 0, b"0")


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


def _pax_record(size: int) -> bytes:
    body = f" size={size}\n"
    length = len(body)
    while len(f"{length}{body}") != length:
        length = len(f"{length}{body}")
    return f"{length}{body}".encode()


def _block(name: str, size: int, kind: bytes) -> bytes:
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
