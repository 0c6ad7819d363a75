"""Where a package lies: on which of the machine's servers, and its path there. A lock keeps the path alone.

The path is enough to fetch it again from whatever server this machine's apt asks for the same suites; the digest in
the lock says whether it is the same package, so no list is fetched for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from bundles.sources.apt.entries import Entry
from registry.errors import DefinitionError


def located(uri: str, entries: Iterable[Entry]) -> tuple[tuple[str, ...], str]:
    """Return the suites of the entry that serves `uri`, and the path below it. Raises DefinitionError."""
    for entry in sorted(entries, key=lambda entry: len(entry.uri), reverse=True):
        base = entry.uri.rstrip("/") + "/"
        path = unquote(uri[len(base) :])
        if uri.startswith(base) and path and ".." not in PurePosixPath(path).parts:
            return entry.suites, path
    raise DefinitionError(
        "apt-scheme-unsupported",
        "a package lies elsewhere than its source entry says",
        where=public(uri),
        hint="use an http, https or file entry for these suites; mirror lists are not followed",
    )


def public(uri: str) -> str:
    """Return an address without the user and password that a machine's apt configuration may put into it."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def addresses(path: str, entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the URIs under which `path` may lie, in the entries' order, each once."""
    return tuple(dict.fromkeys(f"{entry.uri.rstrip('/')}/{quote(path, safe='/~')}" for entry in entries))
