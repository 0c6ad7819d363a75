"""JSON as we write it (canonical bytes) and as we dare to read it (bounded, unambiguous).

Duplicate keys make two readers see two documents; depth and size exhaust a parser: both are refused before use.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any

METADATA_BYTES = 4 << 20
MAX_DEPTH = 64
# A string without its end is taken to the end of the text, and nothing is tried twice: linear for any bytes.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_PLAIN = bytes(set(range(256)) - set(b"[{]}"))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def canonical(value: object) -> bytes:
    """Return the one encoding of `value`: UTF-8, sorted keys, no spaces, no floats, a newline at the end."""
    return (
        json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_refuse).encode() + b"\n"
    )


def loads(data: bytes, *, limit: int = METADATA_BYTES) -> Any:  # noqa: ANN401 - JSON is any value until a model reads it
    """Return the JSON value in `data`.

    Raises ValueError if it is larger than `limit` bytes, nested deeper than 64, not UTF-8 (half a character spelled
    as an escape counts too), has duplicate keys, NaN, a number beyond all bounds or an integer of more than 20 digits.
    """
    if len(data) > limit:
        raise ValueError(f"{len(data)} bytes of JSON, at most {limit} are read")
    text = data.decode("utf-8")
    if _depth(data) > MAX_DEPTH:
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH}")
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_bounded, parse_float=_finite)
    if _SURROGATE.search(data):
        json.dumps(value, ensure_ascii=False).encode()  # half a character is no text: no row can hold it
    return value


def _depth(data: bytes) -> int:
    """Return how deep brackets nest outside strings; 0 for few enough brackets. Linear, whatever the bytes are."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return 0
    steps = _STRING.sub(b"", data).translate(_STEPS, _PLAIN)
    return max(accumulate(memoryview(steps).cast("b")), default=0)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("JSON object with duplicate keys")
    return found


def _bounded(digits: str) -> int:
    if len(digits) > 20:  # noqa: PLR2004 - 2**64 has 20 digits
        raise ValueError("JSON integer too large")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("JSON number too large")
    return number


def _refuse(value: object) -> Any:  # noqa: ANN401
    raise ValueError(f"not allowed in JSON: {value!r}")
