"""What a registry can serve without owning it: the border that mounted bundles cross.

`registry` defines it, `bundles` implements it for a verified bundle, the store implements it for its own folder.
Every byte that leaves a `Content` has been checked by its source, or is checked by whoever stores it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest


class Content(Protocol):
    """One blob's bytes, readable anywhere in it; closing it frees what it holds."""

    @property
    def size(self) -> int:
        """Exact size in bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end. Raises MediaError if they are damaged."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of an open file. The handle stays its content's to close, and so does not outlive it."""

    handle: int
    offset: int
    size: int


@runtime_checkable
class Located(Protocol):
    """A content that lies in one piece in a file: a store beside it can share its disk, and it can be read in place.

    Nobody has checked what lies there: whoever takes it checks what they got.
    """

    @property
    def extent(self) -> Extent | None:
        """Where its bytes lie; None for one that lies in several pieces after all."""
        ...


@runtime_checkable
class Proven(Protocol):
    """A content each byte of which its source checks, against what its signers said, before it gives it away."""

    @property
    def proven_by(self) -> str:
        """What it is checked against."""
        ...


class ContentSource(Protocol):
    """Repositories with their tags, manifests, blobs and referrers. Unknown names give None or nothing, not errors."""

    def repositories(self) -> Iterable[str]:
        """Return every repository's name."""
        ...

    def tags(self, repository: str) -> Iterable[str]:
        """Return a repository's tags."""
        ...

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """Return the manifest that a tag names."""
        ...

    def manifest(self, repository: str, digest: Digest) -> tuple[bytes, str] | None:
        """Return a manifest's exact bytes and its media type."""
        ...

    def blob(self, repository: str, digest: Digest) -> Content | None:
        """Open a blob that the repository holds (a blob of another repository is not visible)."""
        ...

    def referrers(self, repository: str, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject is `subject`, also untagged ones."""
        ...

    def is_absent(self, repository: str, digest: Digest) -> bool:
        """Say whether content is left out on purpose (a platform not carried), not lost."""
        ...


@runtime_checkable
class Paged(ContentSource, Protocol):
    """A source whose lists can be read from any point on, an entry at a time, however long they are.

    Entries come sorted by their bytes. Whoever takes them closes what gives them as soon as there are enough.
    """

    def has_repository(self, name: str) -> bool:
        """Say whether there is such a repository."""
        ...

    def repositories_after(self, last: str = "", globs: Sequence[str] = ("*",)) -> Generator[str, None, None]:
        """Give the names after `last` that one of the globs matches; `*` stands for any run of characters."""
        ...

    def tags_after(self, repository: str, last: str = "") -> Generator[str, None, None]:
        """Give a repository's tags after `last`."""
        ...

    def referrers_after(
        self, repository: str, subject: Digest, last: str = "", artifact_type: str | None = None
    ) -> Generator[Descriptor, None, None]:
        """Give what refers to `subject` and has a digest after `last`; of one type alone, if one is given."""
        ...


@dataclass(frozen=True, slots=True)
class Statement:
    """What the signers of a mounted source said of it; proven before it was mounted, shown to people."""

    medium: str
    """The file's name, never its path."""
    size: int
    product: str
    version: str
    sequence: int
    platforms: Sequence[str]
    issued: datetime
    best_before: datetime
    index: Digest
    warnings: Sequence[str] = ()


@runtime_checkable
class Stated(Protocol):
    """A source that carries a release statement."""

    @property
    def statement(self) -> Statement | None:
        """What its signers said; None if nobody verified it."""
        ...
