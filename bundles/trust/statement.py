"""The release statement: what a signer says of one bundle, read strictly.

It is the `custom` part of the one TUF target, `index.json`. A field that is missing, unknown or of another form makes
the whole statement invalid: a reader that guesses would accept what nobody signed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_FORMS = {
    "product": re.compile(r"[a-z0-9]+(-[a-z0-9]+)*"),
    "version": re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}(-[0-9A-Za-z.-]+)?"),
    "platform": re.compile(r"[a-z0-9]+/[a-z0-9]+(/[a-z0-9.]+)?"),
    "time": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"),
}
_FIELDS = {"apiVersion", "kind", "product", "version", "sequence", "platforms", "issued", "bestBefore"}
_OPTIONAL = {"minInstaller"}
_TEXT_LENGTH = 128
MAX_SEQUENCE = 2**53 - 1  # the largest integer that every JSON reader keeps exact


@dataclass(frozen=True, slots=True)
class Statement:
    """Product, version, sequence, platforms and times of a release; construction checks every form."""

    product: str
    version: str
    sequence: int
    platforms: tuple[str, ...]
    issued: datetime
    best_before: datetime
    min_installer: str | None = None
    """The lowest version of dryport that may install it, None for any that reads it."""

    def __post_init__(self) -> None:
        _form("product", self.product)
        for version in (self.version, self.min_installer or self.version):
            _form("version", version)
        if type(self.sequence) is not int or not 1 <= self.sequence <= MAX_SEQUENCE:
            raise ValueError(f"sequence is a whole number from 1 on, not {self.sequence!r:.40}")
        if not self.platforms or len(set(self.platforms)) != len(self.platforms):
            raise ValueError("platforms are a list of different names, at least one")
        for platform in self.platforms:
            _form("platform", platform)
        if not self.issued < self.best_before:
            raise ValueError(f"best-before {spell(self.best_before)} is not after issued {spell(self.issued)}")

    def as_json(self) -> dict[str, object]:
        """Return the statement as the target's custom value."""
        least = {} if self.min_installer is None else {"minInstaller": self.min_installer}
        return least | {
            "apiVersion": "dryport/v1",
            "kind": "Release",
            "product": self.product,
            "version": self.version,
            "sequence": self.sequence,
            "platforms": list(self.platforms),
            "issued": spell(self.issued),
            "bestBefore": spell(self.best_before),
        }

    @classmethod
    def from_json(cls, value: object) -> Statement:
        """Return the statement in parsed JSON. Raises ValueError."""
        if not isinstance(value, Mapping) or set(value) - _OPTIONAL != _FIELDS:
            raise ValueError(
                f"a release statement has exactly the fields {', '.join(sorted(_FIELDS))}, and may have minInstaller"
            )
        if (value["apiVersion"], value["kind"]) != ("dryport/v1", "Release"):
            raise ValueError("not a Release of dryport/v1")
        platforms = value["platforms"]
        if not isinstance(platforms, list):
            raise ValueError("platforms are a list")
        issued, best_before = moment(value["issued"]), moment(value["bestBefore"])
        said = (value["product"], value["version"], value["sequence"], tuple(platforms), issued, best_before)
        if "minInstaller" in value:
            _form("version", value["minInstaller"])
        return cls(*said, value.get("minInstaller"))


def moment(text: object) -> datetime:
    """Return the time that `2031-12-31T23:59:59Z` spells; no other form is read. Raises ValueError."""
    return datetime.strptime(_form("time", text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def spell(when: datetime) -> str:
    """Return a time as metadata spells it; a time without a zone is a bug of the caller."""
    if when.utcoffset() is None:
        raise ValueError("a time needs a zone")
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _form(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _TEXT_LENGTH or not _FORMS[name].fullmatch(value):
        raise ValueError(f"not a {name}: {value!r:.150}")
    return value
