"""Patterns from packs and profiles: RE2's syntax, matched by RE2 in linear time and bounded memory.

A pattern is foreign text. Look-around and backreferences are not in RE2, so that no pattern can take exponential time.

>>> Pattern.compile("[a-z]+[0-9]{1,3}").matches("web12")
True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import re2

MAX_PATTERN = 4096
MAX_SUBJECT = 1 << 20
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 8 << 20
_OPTIONS.never_capture = True


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that RE2 took."""

    source: str
    compiled: Any

    @classmethod
    def compile(cls, source: str) -> Pattern:
        """Return the pattern. Raises ValueError with RE2's words."""
        if len(source) > MAX_PATTERN:
            raise ValueError(f"a pattern of more than {MAX_PATTERN} characters")
        try:
            return cls(source, re2.compile(source, _OPTIONS))
        except re2.error as error:
            reason = error.args[0] if error.args else "no pattern"
            raise ValueError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from error

    def matches(self, text: str) -> bool:
        """Say whether the whole text fits; what is longer than 1 MiB does not."""
        return len(text) <= MAX_SUBJECT and self.compiled.fullmatch(text) is not None
