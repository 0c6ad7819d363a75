"""The functions that macros may call: sprig's for text, as far as they are pure and their results bounded.

Arguments are texts; a number among them is read where a function wants one. Semantics, also of odd arguments, follow
sprig 3: `trunc -3` keeps the end, `substr` beyond the end is cut.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

MAX_TEXT = 1 << 20
"""Characters of the longest text that a function makes."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of `least` to `most` texts."""

    least: int
    most: int
    apply: Callable[[Sequence[str]], str]

    def check(self, name: str, count: int) -> None:
        """Raise ValueError unless `count` arguments are right."""
        if not self.least <= count <= self.most:
            expected = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
            raise ValueError(f"{name} takes {expected} arguments, {count} are given")


def _number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ValueError(f"a number is expected, not {text[:40]!r}")
    return int(text)


def _bounded(characters: int) -> None:
    """Raise ValueError before a text is made that nobody wants to hold."""
    if characters > MAX_TEXT:
        raise ValueError(f"more than {MAX_TEXT} characters would be made")


def _repeat(count: str, text: str) -> str:
    _bounded(_number(count) * len(text))
    return text * _number(count)


def _replace(old: str, new: str, text: str) -> str:
    _bounded(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _quote(text: str) -> str:
    return '"' + re.sub(r'[\\"]', r"\\\g<0>", text).replace("\n", "\\n").replace("\t", "\\t") + '"'


def _substr(start: str, end: str, text: str) -> str:
    first, last = _number(start), _number(end)
    if first < 0:
        return text[:last] if last >= 0 else text
    return text[first:] if last < 0 or last > len(text) else text[first : max(last, first)]


def _trunc(length: str, text: str) -> str:
    count = _number(length)
    return text[count:] if count < 0 and -count < len(text) else text[:count] if count >= 0 else text


def _decoded(text: str, decode: Callable[[bytes], bytes]) -> str:
    try:
        return decode(text.encode()).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"cannot be decoded: {error}") from error


def _indent(width: str, text: str) -> str:
    _bounded(len(text) + (text.count("\n") + 1) * _number(width))
    pad = " " * _number(width)
    return pad + text.replace("\n", "\n" + pad)


def _words(text: str) -> list[str]:
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", text)]


def _is_true(text: str) -> bool:
    return text not in {"", "false", "0"}


FUNCTIONS: Mapping[str, Function] = {
    "default": Function(2, 2, lambda given: given[1] or given[0]),
    "coalesce": Function(1, 20, lambda given: next((one for one in given if one), "")),
    "ternary": Function(3, 3, lambda given: given[0] if _is_true(given[2]) else given[1]),
    "upper": Function(1, 1, lambda given: given[0].upper()),
    "lower": Function(1, 1, lambda given: given[0].lower()),
    "title": Function(1, 1, lambda given: re.sub(r"\b\w", lambda found: found[0].upper(), given[0])),
    "untitle": Function(1, 1, lambda given: re.sub(r"\b\w", lambda found: found[0].lower(), given[0])),
    "quote": Function(1, 20, lambda given: " ".join(_quote(one) for one in given)),
    "squote": Function(1, 20, lambda given: " ".join(f"'{one}'" for one in given)),
    "trim": Function(1, 1, lambda given: given[0].strip()),
    "trimAll": Function(2, 2, lambda given: given[1].strip(given[0]) if given[0] else given[1]),
    "trimPrefix": Function(2, 2, lambda given: given[1].removeprefix(given[0])),
    "trimSuffix": Function(2, 2, lambda given: given[1].removesuffix(given[0])),
    "trunc": Function(2, 2, lambda given: _trunc(given[0], given[1])),
    "substr": Function(3, 3, lambda given: _substr(given[0], given[1], given[2])),
    "nospace": Function(1, 1, lambda given: "".join(given[0].split())),
    "initials": Function(1, 1, lambda given: "".join(word[0] for word in given[0].split())),
    "repeat": Function(2, 2, lambda given: _repeat(given[0], given[1])),
    "replace": Function(3, 3, lambda given: _replace(given[0], given[1], given[2])),
    "cat": Function(1, 20, " ".join),
    "indent": Function(2, 2, lambda given: _indent(given[0], given[1])),
    "nindent": Function(2, 2, lambda given: "\n" + _indent(given[0], given[1])),
    "contains": Function(2, 2, lambda given: "true" if given[0] in given[1] else "false"),
    "hasPrefix": Function(2, 2, lambda given: "true" if given[1].startswith(given[0]) else "false"),
    "hasSuffix": Function(2, 2, lambda given: "true" if given[1].endswith(given[0]) else "false"),
    "snakecase": Function(1, 1, lambda given: "_".join(_words(given[0]))),
    "kebabcase": Function(1, 1, lambda given: "-".join(_words(given[0]))),
    "b64enc": Function(1, 1, lambda given: base64.b64encode(given[0].encode()).decode()),
    "b64dec": Function(1, 1, lambda given: _decoded(given[0], lambda data: base64.b64decode(data, validate=True))),
    "b32enc": Function(1, 1, lambda given: base64.b32encode(given[0].encode()).decode()),
    "b32dec": Function(1, 1, lambda given: _decoded(given[0], base64.b32decode)),
    "sha256sum": Function(1, 1, lambda given: hashlib.sha256(given[0].encode()).hexdigest()),
    "sha1sum": Function(1, 1, lambda given: hashlib.sha1(given[0].encode(), usedforsecurity=False).hexdigest()),
    "toString": Function(1, 1, lambda given: given[0]),
    "int": Function(1, 1, lambda given: str(_number(given[0])) if given[0] else "0"),
    "add": Function(2, 20, lambda given: str(sum(_number(one) for one in given))),
    "sub": Function(2, 2, lambda given: str(_number(given[0]) - _number(given[1]))),
}
