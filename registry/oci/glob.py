"""Globs over names: `*` stands for any run of characters, slashes too; everything else for itself.

>>> glob("team/*").fullmatch("team/a/b") is not None
True
"""

from __future__ import annotations

import re


def glob(text: str) -> re.Pattern[str]:
    """Return the pattern that a glob stands for; however many stars it has, no name takes long to match."""
    first, *inner = text.split("*")
    if not inner:
        return re.compile(re.escape(first))
    # A part's nearest place is as good as any later one, so it is kept (atomic groups) and nothing is tried twice.
    parts = "".join(f"(?>.*?{re.escape(part)})" for part in inner[:-1] if part)
    return re.compile(f"{re.escape(first)}{parts}.*{re.escape(inner[-1])}", re.DOTALL)
