r"""Debian's control syntax: stanzas of fields, as in `Packages`, `Release`, dpkg's status and `*.sources` (deb822).

>>> [stanza["Package"] for stanza in parse("Package: tar\nVersion: 1.34\n\nPackage: dpkg\n")]
['tar', 'dpkg']
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Stanza = Mapping[str, str]


def parse(text: str) -> Iterator[Stanza]:
    """Yield the stanzas of `text`; continuation lines stay in the value with their line break, comments are left out.

    Field names keep their spelling. Raises ValueError for a line that is neither field nor continuation.
    """
    fields: dict[str, str] = {}
    name = ""
    for line in text.split("\n"):
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t" and name:
            fields[name] += f"\n{line}"
        else:
            name, colon, value = line.partition(":")
            if not colon or not name.strip() or name[0] in " \t":
                raise ValueError(f"neither a field nor its continuation: {line[:100]!r}")
            fields[name] = value.strip()
    if fields:
        yield fields


def render(stanza: Stanza) -> str:
    """Return a stanza's text, closed by the empty line that ends it."""
    return "".join(f"{name}: {value}".replace(": \n", ":\n", 1) + "\n" for name, value in stanza.items()) + "\n"
