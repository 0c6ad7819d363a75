"""How a registry asks who is there: the grammar of `WWW-Authenticate` (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HEADER_BYTES = 16 << 10
_SCHEME = re.compile(r"[\s,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+(?!=)|\s*$|\s*,)")
_PARAMETER = re.compile(r"[\s,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate that a server offers."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> Sequence[Challenge]:
    """Return the challenges in `WWW-Authenticate`; what cannot be read ends the list."""
    found: list[Challenge] = []
    place = 0
    header = header[:HEADER_BYTES]
    while place < len(header):
        parameter = _PARAMETER.match(header, place) if found else None
        if parameter:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1] = Challenge(found[-1].scheme, {**found[-1].parameters, name.lower(): value})
            place = parameter.end()
        elif scheme := _SCHEME.match(header, place):
            found.append(Challenge(scheme[1].lower(), {}))
            place = scheme.end()
        else:
            break
    return found
