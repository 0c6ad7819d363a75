"""Everything one server shows, as one ContentSource: its own store first, then what is mounted, in order."""

from __future__ import annotations

from collections.abc import Sequence

from registry.content import Content, ContentSource
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.store.store import Store


class Sources:
    """The union of several sources; the first that knows an answer gives it."""

    def __init__(self, sources: Sequence[ContentSource]) -> None:
        self._sources = tuple(sources)

    @property
    def parts(self) -> Sequence[ContentSource]:
        """The single sources, in the order in which they are asked."""
        return self._sources

    def repositories(self) -> Sequence[str]:
        """Return every repository's name, sorted."""
        return sorted({name for source in self._sources for name in source.repositories()})

    def tags(self, repository: str) -> Sequence[str]:
        """Return a repository's tags, sorted by their bytes."""
        return sorted({tag for source in self._sources for tag in source.tags(repository)})

    def tags_after(self, repository: str, last: str, most: int) -> Sequence[str]:
        """Return the first `most` tags that come after `last`."""
        found: set[str] = set()
        for source in self._sources:
            if isinstance(source, Store):
                found.update(source.tags_after(repository, last, most))
            else:
                found.update(tag for tag in source.tags(repository) if tag > last)
        return sorted(found)[:most]

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
        found = {item.digest: item for source in self._sources for item in source.referrers(repository, subject)}
        return [found[digest] for digest in sorted(found)]

    def is_absent(self, repository: str, digest: Digest) -> bool:
        """Say whether content is left out on purpose, and nobody has it."""
        is_absent = any(source.is_absent(repository, digest) for source in self._sources)
        return is_absent and self.manifest(repository, digest) is None

    def has_repository(self, name: str) -> bool:
        """Say whether any source has this repository."""
        return any(
            source.has_repository(name) if isinstance(source, Store) else name in source.repositories()
            for source in self._sources
        )
