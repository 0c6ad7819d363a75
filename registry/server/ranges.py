"""The Range header of a pull (RFC 9110, section 14), for one range.

Several ranges, other units and malformed headers are ignored, which the RFC allows: the answer is the whole content.
"""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=([0-9]{0,24})-([0-9]{0,24})")


class UnsatisfiableError(ValueError):
    """The range begins behind the content, or ends before it begins."""


def parse(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one behind the last, clamped to `size`; None means all.

    Raises UnsatisfiableError.
    """
    found = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if found is None or size == 0:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        if int(last) == 0:
            raise UnsatisfiableError
        return max(0, size - int(last)), size
    start = int(first)
    end = min(int(last) + 1, size) if last else size  # docker resumes with an end one past the last byte
    if start >= size or end <= start:
        raise UnsatisfiableError
    return start, end
