"""One caller's view of one registry, and how things in it are named: `repository`, with `:tag` or with `@digest`.

>>> viewer.find(Name.parse("quickstart/web:1.0"))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from registry.oci.digest import Digest
from registry.oci.manifest import Manifest
from registry.oci.reference import repository_name, tag_name
from registry.server.auth import Identity
from registry.server.context import Registry
from registry.server.sources import Sources

Row = TypeVar("Row")
PAGE_ROWS = 100
MOST_ROWS = 500


class Shown(BaseModel):
    """Base of all that is shown; JSON has the names in camelCase."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Page(Shown, Generic[Row]):
    """One page of a list."""

    total: int
    page: int
    pages: int
    rows: Sequence[Row]


class NotVisibleError(Exception):
    """There is no such thing, or not for this caller: both look the same."""


@dataclass(frozen=True, slots=True)
class Name:
    """A repository, and perhaps one thing in it."""

    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Name:
        """Return what `text` names. Raises NotVisibleError for what cannot name anything."""
        repository, at, digest = text.partition("@")
        if not at:
            repository, colon, tag = text.partition(":")
        try:
            if at:
                return cls(repository_name(repository), digest=Digest.parse(digest))
            return cls(repository_name(repository), tag=tag_name(tag) if colon else None)
        except ValueError as error:
            raise NotVisibleError from error

    def __str__(self) -> str:
        if self.digest:
            return f"{self.repository}@{self.digest}"
        return f"{self.repository}:{self.tag}" if self.tag else self.repository


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest that the caller may see."""

    name: Name
    digest: Digest
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Viewer:
    """What one caller may see."""

    registry: Registry
    identity: Identity

    @property
    def sources(self) -> Sources:
        """All content, the caller's or not: ask `may_see` first."""
        return self.registry.sources

    @property
    def is_admin(self) -> bool:
        """Whether the caller may look at the server's inside."""
        return self.identity.may("admin", "")

    def may_see(self, repository: str) -> bool:
        """Say whether the caller may pull from a repository."""
        return self.identity.may("pull", repository)

    def repositories(self) -> list[str]:
        """Return the repositories that the caller may pull from, sorted."""
        return [name for name in self.sources.repositories_after(globs=self.identity.shown) if self.may_see(name)]

    def find(self, name: Name) -> Found:
        """Return the manifest that is named. Raises NotVisibleError."""
        digest = name.digest
        if not self.may_see(name.repository):
            raise NotVisibleError
        if digest is None and name.tag is not None:
            known = self.sources.resolve(name.repository, name.tag)
            digest = known.digest if known else None
        found = self.manifest(name.repository, digest) if digest else None
        if digest is None or found is None:
            raise NotVisibleError
        return Found(name, digest, found)

    def manifest(self, repository: str, digest: Digest) -> Manifest | None:
        """Return a manifest of a repository that the caller may see; None too for bytes that are none any more."""
        found = self.sources.manifest(repository, digest)
        try:
            return Manifest.parse(*found) if found else None
        except ValueError:
            return None


def cut(rows: Sequence[Row], page: int, size: int = PAGE_ROWS) -> tuple[Sequence[Row], int]:
    """Return the rows of a page, counted from 1, and how many pages there are."""
    return rows[(page - 1) * size : page * size], max(1, -(-len(rows) // size))
