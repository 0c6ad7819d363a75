"""Names of content: repository names, tags and full image references.

Grammar: OCI distribution-spec 1.1, "Pulling manifests"; normalisation of short names as Docker does it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.oci.digest import Digest

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HOST = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?")
NAME_BYTES = 255
DEFAULT_HOST = "docker.io"
_FORMER_HOST = "index.docker.io"
"""Another name of the default host, from before 2014; Docker still reads it as the same."""


def repository_name(text: str) -> str:
    """Return `text` if it is a repository name of at most 255 bytes, else raise ValueError."""
    if len(text) > NAME_BYTES or not _REPOSITORY.fullmatch(text):
        raise ValueError(f"not a repository name: {text[:300]!r}")
    return text


def tag_name(text: str) -> str:
    """Return `text` if it is a tag, else raise ValueError."""
    if not _TAG.fullmatch(text):
        raise ValueError(f"not a tag: {text[:150]!r}")
    return text


def is_host(component: str) -> bool:
    """Say whether the first component of a name stands for a registry's host, as every client judges it."""
    return bool(set(".:") & set(component)) or component == "localhost"


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """`host/repository:tag` or `host/repository@digest` (or both); the host is always there."""

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"not a registry host: {self.host[:150]!r}")
        repository_name(self.repository)
        if self.tag is not None:
            tag_name(self.tag)

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that `text` spells.

        A first component without dot, colon or `localhost` is not a host: `nginx` means `docker.io/library/nginx`, and
        so does `docker.io/nginx`.
        Raises ValueError, also for a reference with neither tag nor digest: nothing is guessed to be `latest`.
        """
        rest, _, digest = text.partition("@")
        first, slash, path = rest.partition("/")
        if not slash or not is_host(first):
            first, path = DEFAULT_HOST, rest
        if first in (DEFAULT_HOST, _FORMER_HOST):
            first, path = DEFAULT_HOST, path if "/" in path else f"library/{path}"
        repository, _, tag = path.partition(":")
        if not tag and not digest:
            raise ValueError(f"neither tag nor digest in {text!r}")
        return cls(first, repository, tag or None, Digest.parse(digest) if digest else None)

    @property
    def served_at(self) -> str:
        """The repository under which a registry that keeps origins apart serves it: `<origin-host>/<path>`.

        No repository has a colon, and no host an underscore: `host:5000` becomes `host_5000`, which is nobody else's.
        """
        return repository_name(f"{self.host.replace(':', '_')}/{self.repository}".lower())

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"
