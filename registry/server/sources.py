"""Everything one server shows, as one ContentSource: its own store first, then what is mounted, in order."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from registry.content import Content, ContentSource, Paged
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.store.listing import merged
from registry.store.policy import matches


class Sources:
    """The union of several sources; the first that knows an answer gives it."""

    def __init__(self, sources: Sequence[ContentSource]) -> None:
        self._sources = tuple(sources)
        self._lists = [source if isinstance(source, Paged) else _Short(source) for source in sources]

    @property
    def parts(self) -> Sequence[ContentSource]:
        """The single sources, in the order in which they are asked."""
        return self._sources

    def repositories(self) -> Sequence[str]:
        """Return every repository's name, sorted."""
        return list(self.repositories_after())

    def repositories_after(self, last: str = "", globs: Sequence[str] = ("*",)) -> Generator[str, None, None]:
        """Give the names after `last` that one of the globs matches, sorted."""
        return merged([source.repositories_after(last, globs) for source in self._lists])

    def tags(self, repository: str) -> Sequence[str]:
        """Return a repository's tags, sorted by their bytes."""
        return list(self.tags_after(repository))

    def tags_after(self, repository: str, last: str = "") -> Generator[str, None, None]:
        """Give a repository's tags after `last`, sorted by their bytes."""
        return merged([source.tags_after(repository, last) for source in self._lists])

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """Return the manifest that a tag names."""
        for source in self._sources:
            if found := source.resolve(repository, tag):
                return found
        return None

    def manifest(self, repository: str, digest: Digest) -> tuple[bytes, str] | None:
        """Return a manifest's exact bytes and its media type."""
        for source in self._sources:
            if found := source.manifest(repository, digest):
                return found
        return None

    def blob(self, repository: str, digest: Digest) -> Content | None:
        """Open a blob that the repository holds."""
        for source in self._sources:
            if found := source.blob(repository, digest):
                return found
        return None

    def referrers(self, repository: str, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject is `subject`, each once."""
        return list(self.referrers_after(repository, subject))

    def referrers_after(
        self, repository: str, subject: Digest, last: str = "", artifact_type: str | None = None
    ) -> Generator[Descriptor, None, None]:
        """Give what refers to `subject` and has a digest after `last`, sorted by it, each once."""
        lists = [source.referrers_after(repository, subject, last, artifact_type) for source in self._lists]
        return merged(lists, key=_digest)

    def is_absent(self, repository: str, digest: Digest) -> bool:
        """Say whether content is left out on purpose, and nobody has it."""
        is_absent = any(source.is_absent(repository, digest) for source in self._sources)
        return is_absent and self.manifest(repository, digest) is None

    def has_repository(self, name: str) -> bool:
        """Say whether any source has this repository."""
        return any(source.has_repository(name) for source in self._lists)


class _Short:
    """The lists of a source that has no long ones: a bundle keeps its names in memory."""

    def __init__(self, source: ContentSource) -> None:
        self._source = source

    def has_repository(self, name: str) -> bool:
        return name in self._source.repositories()

    def repositories_after(self, last: str, globs: Sequence[str]) -> Generator[str, None, None]:
        for name in sorted(self._source.repositories()):
            if name > last and any(matches(glob, name) for glob in globs):
                yield name

    def tags_after(self, repository: str, last: str) -> Generator[str, None, None]:
        yield from (tag for tag in sorted(self._source.tags(repository)) if tag > last)

    def referrers_after(
        self, repository: str, subject: Digest, last: str, artifact_type: str | None
    ) -> Generator[Descriptor, None, None]:
        for item in sorted(self._source.referrers(repository, subject), key=_digest):
            if _digest(item) > last and artifact_type in (None, item.artifact_type):
                yield item


def _digest(item: Descriptor) -> str:
    return str(item.digest)
