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

import yaml

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
_ODD = re.compile(
    "[^\\t\\n\\x20-\\x7e\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]"
)
"""Characters that YAML's readers take for line ends, or do not take at all."""
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


class _Dumper(yaml.SafeDumper):
    """Writes YAML that Helm and the cluster read as it was meant: what they would take for more than text is quoted."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if _ODD.search(text):
        style = '"'
    elif "\n" in text:
        style = "|" if text.strip("\n") and not text.startswith((" ", "\n")) else '"'
    elif _is_more(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style)


_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(str, _text)


def dumped(value: Value) -> str:
    """Return a value as YAML text; the same value gives the same text."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _is_more(text: str) -> bool:
    try:
        return not isinstance(plain(text), str)
    except ValueError:
        return True


def _integer(digits: str) -> int | None:
    found = _INTEGER.fullmatch(digits)
    if found is None:
        return None
    sign, hexadecimal, binary, octal, decimal = found.groups()
    base, number = next((base, one) for base, one in ((16, hexadecimal), (2, binary), (8, octal), (10, decimal)) if one)
    value = int(number, base) * (-1 if sign == "-" else 1)
    return value if -_MOST // 2 <= value < _MOST else None
