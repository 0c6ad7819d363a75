"""Errors an operator can act on.

A family says who has to act and sets the exit code; `reference` names the cause and never changes, so that a manual,
a ticket or a script can point at it. Everything else is text for a person: what was expected, what was seen, where,
and what to type next. Anything that is not a `DryportError` is a bug of ours (exit code 1).

>>> raise MediaError("blob-damaged", "a chunk does not match its signed digest",
...                  where="bundle.tar bytes 4194304-8388607 (web:1.0 layer 1)",
...                  hint="copy the bundle again, then: dryport bundle verify bundle.tar")
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class DryportError(Exception):
    """Base of all errors that name who has to act.

    `findings` holds the single errors when many were collected; they are reported together, worst first.
    """

    exit_code: ClassVar[int] = 1
    family: ClassVar[str] = "bug"

    def __init__(
        self,
        reference: str,
        message: str,
        *,
        where: str = "",
        expected: str = "",
        seen: str = "",
        hint: str = "",
        findings: Sequence[DryportError] = (),
    ) -> None:
        if not _KEBAB.fullmatch(reference):
            raise ValueError(f"not a kebab-case reference: {reference!r}")
        super().__init__(message)
        self.reference = reference
        self.message = message
        self.where = where
        self.expected = expected
        self.seen = seen
        self.hint = hint
        self.findings = tuple(findings)

    def as_json(self) -> dict[str, object]:
        """Return the error as documented for `--json`; absent parts are left out."""
        parts = {
            "where": self.where,
            "expected": self.expected,
            "seen": self.seen,
            "hint": self.hint,
            "findings": [finding.as_json() for finding in self.findings],
        }
        head = {"family": self.family, "reference": self.reference, "message": self.message}
        return head | {key: value for key, value in parts.items() if value}


class UsageError(DryportError):
    """The command line asks for something that cannot be."""

    exit_code, family = 2, "usage"


class DefinitionError(DryportError):
    """Whoever wrote the definition, lock, pack or profile has to act."""

    exit_code, family = 3, "definition"


class MediaError(DryportError):
    """The medium is damaged, incomplete or not what it says."""

    exit_code, family = 4, "media"


class TrustError(DryportError):
    """What was read is not vouched for by whom this site trusts."""

    exit_code, family = 5, "trust"


class SiteError(DryportError):
    """The site's declaration, home or this machine needs attention."""

    exit_code, family = 6, "site"


class HostError(DryportError):
    """A host of the site needs attention."""

    exit_code, family = 7, "host"


class RemoteError(DryportError):
    """A registry or another server did not do what it should."""

    exit_code, family = 8, "remote"
