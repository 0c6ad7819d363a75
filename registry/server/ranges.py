"""The Range header of a pull (RFC 9110, section 14): one range, or several as multipart/byteranges.

* podman and skopeo ask for up to 1024 ranges of a zstd:chunked layer at once; as many are answered.
* Several ranges must ascend without overlap, so that no answer is larger than the content and some short heads.
* Other units, malformed headers and whatever breaks these rules are ignored, which the RFC allows: the answer is whole.
"""

from __future__ import annotations

import re
import secrets
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

from registry.content import Content

MOST_RANGES = 1024
_MOST_TEXT = 64 << 10
_RANGE = re.compile(r"([0-9]{0,24})-([0-9]{0,24})")
Range = tuple[int, int]
"""The first byte and the one behind the last."""


class UnsatisfiableError(ValueError):
    """Each range begins behind the content, or ends before it begins."""


def parse(header: str | None, size: int) -> Sequence[Range]:
    """Return the ranges, clamped to `size`; none means all. Raises UnsatisfiableError."""
    if not header or len(header) > _MOST_TEXT or size == 0:
        return ()
    unit, equals, listed = header.replace(" ", "").replace("\t", "").partition("=")
    parts = [part for part in listed.split(",") if part]
    found = [_RANGE.fullmatch(part) for part in parts]
    if unit.lower() != "bytes" or not equals or not 0 < len(parts) <= MOST_RANGES:
        return ()
    asked = [match.groups() for match in found if match and match.group() != "-"]
    if len(asked) != len(parts):
        return ()
    ranges = [span for first, last in asked if (span := _clamp(first, last, size))]
    if not ranges:
        raise UnsatisfiableError
    if any(after[0] < before[1] for before, after in pairwise(ranges)):
        return ()
    return ranges


def _clamp(first: str, last: str, size: int) -> Range | None:
    """Return the range within a content, None if it lies outside."""
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start = int(first)
        end = min(int(last) + 1, size) if last else size  # docker resumes with an end one past the last byte
    return (start, end) if start < end else None


class Multipart:
    """Several ranges of a content as one: the body of a multipart/byteranges answer, never collected in memory."""

    def __init__(self, content: Content, ranges: Sequence[Range], media_type: str) -> None:
        mark = secrets.token_hex(16)
        self.media_type = f"multipart/byteranges; boundary={mark}"
        self._content = content
        self._parts: list[bytes | Range] = []
        for number, (start, end) in enumerate(ranges):
            lead = "" if number == 0 else "\r\n"
            self._parts += [
                f"{lead}--{mark}\r\nContent-Type: {media_type}\r\n"
                f"Content-Range: bytes {start}-{end - 1}/{content.size}\r\n\r\n".encode(),
                (start, end),
            ]
        self._parts.append(f"\r\n--{mark}--\r\n".encode())
        sizes = (len(part) if isinstance(part, bytes) else part[1] - part[0] for part in self._parts)
        self._starts = list(accumulate(sizes, initial=0))

    @property
    def size(self) -> int:
        """Exact size of the body in bytes."""
        return self._starts[-1]

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of the body from `offset`, fewer only at the end."""
        end = min(offset + length, self.size)
        blocks = []
        while offset < end:
            number = bisect_right(self._starts, offset) - 1
            part, begins = self._parts[number], self._starts[number]
            stop = min(end, self._starts[number + 1])
            if isinstance(part, bytes):
                blocks.append(part[offset - begins : stop - begins])
            else:
                blocks.append(self._content.read(part[0] + offset - begins, stop - offset))
            offset = stop
        return b"".join(blocks)

    def close(self) -> None:
        """Free the content."""
        self._content.close()
