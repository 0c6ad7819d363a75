"""Versions and bounds as packs write them: semantic versions, and what is nearly one.

Semantic Versioning 2.0.0 says how versions compare. Half of the bounds in the field are shorter (`1.27`) and some have
a leading `v`: missing numbers of a lower bound are 0; an upper bound of `1.27` allows every 1.27.x, the friendlier of
two readings. Both ends belong to the range.

>>> Range.parse("1.27", "1.30").holds(Version.read("v1.30.4"))
True
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Self

_MOST_DIGITS = 18
_IDENTIFIER = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_NUMBER = r"0|[1-9][0-9]*"
_STRICT = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-((?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
    rf"(?:\+({_IDENTIFIER}))?"
)
_LENIENT = re.compile(rf"[vV]?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-({_IDENTIFIER}))?(?:\+({_IDENTIFIER}))?")


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A semantic version; versions that differ in build metadata alone are equal (clause 10)."""

    numbers: tuple[int, int, int]
    prerelease: tuple[str, ...] = ()
    given: int = 3
    """How many numbers were written."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the version that `text` means, padded with zeros. Raises ValueError."""
        found = _LENIENT.fullmatch(text.strip()) if len(text) <= 255 else None  # noqa: PLR2004 - longer than any tag
        if found is None or any(len(number or "") > _MOST_DIGITS for number in found.groups()[:3]):
            raise ValueError(f"not a version: {text[:100]!r}")
        written = [int(number) for number in found.groups()[:3] if number is not None]
        major, minor, patch = (*written, 0, 0, 0)[:3]
        return cls((major, minor, patch), tuple(found[4].split(".")) if found[4] else (), len(written))

    @property
    def _order(self) -> tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]:
        # Clause 11: numbers before letters, fewer fields before more, any prerelease before none.
        fields = tuple((not one.isdecimal(), int(one) if one.isdecimal() else 0, one) for one in self.prerelease)
        return self.numbers, not self.prerelease, fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._order == other._order

    def __lt__(self, other: Version) -> bool:
        return self._order < other._order

    def __hash__(self) -> int:
        return hash(self._order)

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers)) + (f"-{'.'.join(self.prerelease)}" if self.prerelease else "")


def is_semantic(text: str) -> bool:
    """Say whether `text` is a semantic version to the letter."""
    return _STRICT.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Range:
    """Versions between two bounds, both included; None is no bound."""

    low: Version | None = None
    high: Version | None = None

    @classmethod
    def parse(cls, low: str, high: str) -> Range:
        """Return the range between two bounds as a pack writes them. Raises ValueError."""
        return cls(Version.read(low) if low.strip() else None, Version.read(high) if high.strip() else None)

    def holds(self, version: Version) -> bool:
        """Say whether a version is inside."""
        return (self.low is None or version >= self.low) and (self.high is None or not self._is_above(version))

    @property
    def is_crossed(self) -> bool:
        """Whether nothing can be inside."""
        return self.low is not None and self.high is not None and self._is_above(self.low)

    def _is_above(self, version: Version) -> bool:
        assert self.high is not None  # noqa: S101 - the callers asked
        if self.high.given == 3 or self.high.prerelease:  # noqa: PLR2004 - all numbers are written
            return version > self.high
        return version.numbers[: self.high.given] > self.high.numbers[: self.high.given]

    def __str__(self) -> str:
        if self.high is None:
            return f"{self.low} or newer" if self.low else "any version"
        most = ".".join([*map(str, self.high.numbers[: self.high.given]), *(["x"] if self.high.given < 3 else [])])  # noqa: PLR2004
        most = str(self.high) if self.high.prerelease else most
        return f"{self.low} to {most}" if self.low else f"{most} or older"
