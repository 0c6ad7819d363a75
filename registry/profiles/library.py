"""Where the packs of a profile come from: folders with packs in them, and a registry.

>>> library = Library(Path("."), folders=[Path("packs")], shelf=None)
>>> library.get("web", "1.0.0").metadata.title
'web-1.0.0'
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import DefinitionError, DryportError, RemoteError
from registry.oci.digest import Digest
from registry.packs.artifact import pack_archive
from registry.packs.content import PackContent
from registry.packs.pushing import Built
from registry.packs.reading import PackFiles, read_files, read_folder, read_stream
from registry.packs.shelf import Shelf
from registry.packs.versions import Version


@dataclass(frozen=True)
class Known:
    """A version of a pack that a profile may have."""

    content: PackContent
    source: str
    """Where it was found, for people."""
    digest: Digest | None
    """Of its manifest; None where it was not asked for."""


@dataclass
class Library:
    """Finds packs by name and version; each is read once."""

    home: Path
    """The folder to which paths in the profile are relative."""
    folders: Sequence[Path] = ()
    shelf: Shelf | None = None
    _known: dict[tuple[str, str], Known] = field(default_factory=dict)
    _local: dict[str, dict[str, Path]] | None = None

    def at(self, path: str) -> Known:
        """Return the pack at a path of the profile. Raises DefinitionError."""
        return _read(self.home / path)

    def get(self, name: str, version: str) -> Known | None:
        """Return a version of a pack, from the first place that has it. Raises DefinitionError, RemoteError."""
        if (name, version) in self._known:
            return self._known[name, version]
        found: Known | None = None
        local = self._folders().get(name, {})
        if version in local:
            found = _read(local[version])
        elif self.shelf is not None:
            found = self._served(self.shelf, name, version)
        if found is not None:
            self._known[name, version] = found
        return found

    def versions(self, name: str) -> Sequence[str]:
        """Return the known versions of a pack, the newest first; what is no version comes last."""
        found = set(self._folders().get(name, {}))
        if self.shelf is not None:
            found |= {tag.replace("_", "+", 1) for tag in self.shelf.tags(name)}
        return sorted(found, key=_order, reverse=True)

    def _served(self, shelf: Shelf, name: str, version: str) -> Known | None:
        try:
            found = shelf.get(name, version.replace("+", "_"))
        except RemoteError as error:
            if error.reference == "pack-missing":
                return None
            raise
        files = read_stream(io.BytesIO(found.archive), found.reference)
        return Known(PackContent.of(files), f"{shelf.remote.url}/{found.reference}", found.digest)

    def _folders(self) -> dict[str, dict[str, Path]]:
        if self._local is None:
            self._local = {}
            for folder in self.folders:
                for path, name, version in _packs_in(folder):
                    self._local.setdefault(name, {}).setdefault(version, path)
        return self._local


def digest_of(known: Known) -> Digest | None:
    """Return the digest of a pack's manifest; of a folder, that which a push of it would have."""
    if known.digest is not None:
        return known.digest
    path = Path(known.content.files.where)
    if path.is_dir():
        return Built.of(known.content.metadata, pack_archive(path)).digest
    with path.open("rb") as stream:
        return Built.of(known.content.metadata, iter(lambda: stream.read(1 << 20), b"")).digest


def _read(path: Path) -> Known:
    files: PackFiles = read_files(path)
    return Known(PackContent.of(files), str(path), None)


def _packs_in(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield path, name and version of each pack right below a folder; what is no pack is passed over."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DefinitionError(
            "packs-unreadable", error.strerror or str(error), where=str(folder), hint="name a folder: --packs FOLDER"
        ) from error
    for path in paths:
        try:
            if (path / "pack.json").is_file():
                metadata = read_folder(path).metadata
            elif path.name.endswith(".tar.gz"):
                metadata = PackContent.of(read_files(path)).metadata
            else:
                continue
        except DryportError:
            continue
        yield path, metadata.name, metadata.version


def _order(version: str) -> tuple[bool, Version, str]:
    try:
        return True, Version.read(version), version
    except ValueError:
        return False, Version((0, 0, 0)), version
