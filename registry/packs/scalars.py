"""What a plain YAML scalar means to Helm, which is not what it means to other readers.

`yes`, `y` and `on` are true, `0644` is 420, but `12:30` and `2001-01-01` are texts, and `1e3` is a number: so reads the
parser in Helm and in the field's tools (YAML 1.1 without its sexagesimal numbers and dates). A test asks Helm itself.

>>> plain("0644"), plain("12:30"), plain("on")
(420, '12:30', True)
"""

from __future__ import annotations

import math
import re
from typing import Any

Value = Any
"""What YAML describes: None, bool, int, float, str, list of values, dict of str to values."""
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NUMBER_STARTS = frozenset("+-.0123456789")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"([-+]?)(?:(0[xX][0-9a-fA-F]+)|(0[bB][01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_MOST = 2**64
_LONGEST = 400
"""Characters of the longest number worth reading; a double spelled out has 310 digits."""


def plain(text: str) -> Value:
    """Return the value of an unquoted scalar. Raises ValueError for infinity and for what is no number."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS or len(text) > _LONGEST:
        return text
    if text.lstrip("+-").lower() in {".inf", ".nan"}:
        raise ValueError(f"{text} has no place in JSON")
    digits = text.replace("_", "")
    if (number := _integer(digits)) is not None:
        return number
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        return text if math.isinf(value) else value
    return text


def _integer(digits: str) -> int | None:
    found = _INTEGER.fullmatch(digits)
    if found is None:
        return None
    sign, hexadecimal, binary, octal, decimal = found.groups()
    base, number = next((base, one) for base, one in ((16, hexadecimal), (2, binary), (8, octal), (10, decimal)) if one)
    value = int(number, base) * (-1 if sign == "-" else 1)
    return value if -_MOST // 2 <= value < _MOST else None
