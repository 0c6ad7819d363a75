"""JSON as we write it (canonical bytes) and as we dare to read it (bounded, unambiguous).

Duplicate keys make two readers see two documents; depth and size exhaust a parser: both are refused before use.
"""

from __future__ import annotations

import json
from typing import Any

METADATA_BYTES = 4 << 20
MAX_DEPTH = 64


def canonical(value: object) -> bytes:
    """Return the one encoding of `value`: UTF-8, sorted keys, no spaces, no floats, a newline at the end."""
    return (
        json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_refuse).encode() + b"\n"
    )


def loads(data: bytes, *, limit: int = METADATA_BYTES) -> Any:  # noqa: ANN401 - JSON is any value until a model reads it
    """Return the JSON value in `data`.

    Raises ValueError if it is larger than `limit` bytes, nested deeper than 64, not UTF-8, has duplicate keys, NaN or
    an integer of more than 20 digits.
    """
    if len(data) > limit:
        raise ValueError(f"{len(data)} bytes of JSON, at most {limit} are read")
    text = data.decode("utf-8")
    if _depth(text) > MAX_DEPTH:
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH}")
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_bounded)


def _depth(text: str) -> int:
    depth = deepest = 0
    quoted = escaped = False
    for char in text:
        if quoted:
            quoted, escaped = (char != '"' or escaped), (char == "\\" and not escaped)
        elif char == '"':
            quoted = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("JSON object with duplicate keys")
    return found


def _bounded(digits: str) -> int:
    if len(digits) > 20:  # noqa: PLR2004 - 2**64 has 20 digits
        raise ValueError("JSON integer too large")
    return int(digits)


def _refuse(value: object) -> Any:  # noqa: ANN401
    raise ValueError(f"not allowed in JSON: {value!r}")
