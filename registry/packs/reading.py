"""Packs read from a folder or from their tar.gz, bounded; nothing is ever unpacked to a disk.

In an archive the pack lies below one folder of any name, as the field writes it, or at the top. Of the members only
`pack.json`, `values.yaml` and what the caller names are kept; names, links and modes in it never become paths.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from registry.errors import DefinitionError
from registry.oci import targz
from registry.packs.findings import Finding
from registry.packs.model import PACK_JSON_BYTES, DeclaredImage, Pack, PackMetadata
from registry.packs.values import VALUES_BYTES, declared_images


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pack may cost to read. The largest public one holds 3 MiB in 200 files."""

    files: int = 20_000
    unpacked_bytes: int = 1 << 30
    header_bytes: int = 1 << 20
    kept_bytes: int = 128 << 20


LIMITS = Limits()
PART_BYTES = 32 << 20
"""The largest chart or manifest that is read."""
_KEPT = {"pack.json": PACK_JSON_BYTES, "values.yaml": VALUES_BYTES}
_WHOLE = {**_KEPT, "schema.yaml": VALUES_BYTES, "presets.yaml": VALUES_BYTES}


@dataclass(frozen=True, slots=True)
class PackFiles:
    """All names of a pack, and the contents of those that matter: its descriptions, charts and manifests."""

    where: str
    folder: str
    """The folder's name; empty for an archive."""
    names: frozenset[str]
    contents: Mapping[str, bytes]
    top: str = ""
    """The folder in an archive, below which everything lies."""


def read_folder(folder: Path) -> Pack:
    """Return the pack in a folder. Raises DefinitionError."""
    names = {member.name: member.path for member in targz.members(folder)}

    def content(name: str) -> bytes:
        with names[name].open("rb") as stream:
            return stream.read(_KEPT[name] + 1)

    return read_pack(names, content, str(folder))


def read_archive(stream: BinaryIO, where: str, limits: Limits = LIMITS) -> Pack:
    """Return the pack in a tar.gz. Raises DefinitionError for anything that is none, or costs more than `limits`."""
    return read_book(stream, where, {}, limits)[0]


def read_book(
    stream: BinaryIO, where: str, also: Mapping[str, int], limits: Limits = LIMITS
) -> tuple[Pack, dict[str, bytes]]:
    """Return the pack in a tar.gz with its values and the files of `also`, each up to that many bytes.

    Raises DefinitionError as `read_archive` does.
    """
    keep = {**also, **_KEPT}
    _, files = _unpacked(stream, where, limits, lambda name: keep.get(name, 0))
    pack = read_pack(files, lambda name: files[name] or b"", where)
    kept = {name: data for name, data in files.items() if data is not None and len(data) <= also.get(name, len(data))}
    return pack, kept


def read_files(path: Path) -> PackFiles:
    """Return all that is to be judged of a pack, from its folder or its tar.gz. Raises DefinitionError."""
    if path.is_dir():
        members = {member.name: member.path for member in targz.members(path)}
        limits = {name: limit for name in members if (limit := _weight(name))}
        contents: dict[str, bytes] = {}
        left = LIMITS.kept_bytes
        for name, limit in limits.items():
            with members[name].open("rb") as stream:
                contents[name] = stream.read(min(limit, left) + 1)
            left -= len(contents[name])
        files: dict[str, bytes | None] = {name: contents.get(name) for name in members}
        return _checked(files, str(path), path.resolve().name, is_over=left < 0)
    try:
        with path.open("rb") as stream:
            return read_stream(stream, str(path))
    except OSError as error:
        raise DefinitionError(
            "pack-unreadable", error.strerror or str(error), where=str(path), hint="name a pack's folder or tar.gz"
        ) from error


def read_stream(stream: BinaryIO, where: str) -> PackFiles:
    """Return all that is to be judged of a pack in a tar.gz. Raises DefinitionError."""
    top, files = _unpacked(stream, where, LIMITS, _weight)
    return _checked(files, where, "", top)


def _checked(
    files: Mapping[str, bytes | None], where: str, folder: str, top: str = "", *, is_over: bool = False
) -> PackFiles:
    large = [name for name, data in files.items() if data is not None and len(data) > _weight(name)]
    if large or is_over:
        raise DefinitionError(
            "pack-file-large",
            f"{large[0]} is larger than {_weight(large[0])} bytes"
            if large
            else "its charts and manifests are too large",
            where=where,
            hint="take out of the pack what it does not install",
        )
    contents = {name: data for name, data in files.items() if data is not None}
    return PackFiles(where, folder, frozenset(files), contents, top)


def _weight(name: str) -> int:
    """Return how many bytes of a file are read; 0 for what is not judged."""
    return _WHOLE.get(name) or (PART_BYTES if name.endswith((".tgz", ".yaml", ".yml")) else 0)


def _unpacked(
    stream: BinaryIO, where: str, limits: Limits, keep: Callable[[str], int]
) -> tuple[str, dict[str, bytes | None]]:
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as plain:
            return _members(cast("BinaryIO", _Bounded(cast("BinaryIO", plain), limits)), limits, keep)
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise DefinitionError(
            "pack-archive-invalid", str(error) or type(error).__name__, where=where, hint="archive the pack again"
        ) from error


def _members(plain: BinaryIO, limits: Limits, keep: Callable[[str], int]) -> tuple[str, dict[str, bytes | None]]:
    """Return the one top folder and the names below it, with the bytes of the files that are kept."""
    found: dict[PurePosixPath, bytes | None] = {}
    left = limits.kept_bytes
    with tarfile.open(fileobj=plain, mode="r:", errorlevel=2) as tar:
        for count, info in enumerate(tar, start=1):
            if count > limits.files:
                raise ValueError(f"more than {limits.files} members")
            path = PurePosixPath(info.name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"a name leads out of the archive: {info.name!r}")
            if not info.isreg():
                continue
            if path in found:
                raise ValueError(f"a name occurs twice: {info.name!r}")
            # Whether there is a top folder is known at the end only.
            limit = max(keep(str(path)), keep(str(PurePosixPath(*path.parts[1:]))) if len(path.parts) > 1 else 0)
            reader = tar.extractfile(info) if limit else None
            data = reader.read(min(info.size, limit + 1)) if reader else None
            left -= len(data or b"")
            if left < 0:
                raise ValueError(f"more than {limits.kept_bytes} bytes of descriptions, charts and manifests")
            found[path] = data
    tops = {path.parts[0] for path in found if len(path.parts) > 1}
    if PurePosixPath("pack.json") in found:
        return "", {str(path): data for path, data in found.items()}
    if len(tops) != 1:
        raise ValueError(f"one top folder expected, seen {len(tops)}")
    below = {str(PurePosixPath(*path.parts[1:])): data for path, data in found.items() if len(path.parts) > 1}
    return next(iter(tops)), below


def read_pack(names: Collection[str], content: Callable[[str], bytes], where: str) -> Pack:
    """Return the pack whose files are `names`. Raises DefinitionError."""

    def kept(name: str) -> bytes:
        data = content(name)
        if len(data) > _KEPT[name]:
            raise DefinitionError(
                "pack-file-large",
                f"{name} is larger than {_KEPT[name]} bytes",
                where=where,
                hint="shorten it; what is large belongs into the pack's charts, or into an image",
            )
        return data

    if "pack.json" not in names:
        raise DefinitionError("pack-json-missing", "there is no pack.json", where=where, hint="name a pack's folder")
    metadata = PackMetadata.parse(kept("pack.json"), f"{where}: pack.json")
    images: tuple[DeclaredImage, ...] = ()
    notes: tuple[Finding, ...] = (Finding("values-missing", "there is no values.yaml"),)
    if "values.yaml" in names:
        images, notes = declared_images(kept("values.yaml"), f"{where}: values.yaml")
    return Pack(metadata, images, (*notes, *_oddities(metadata, names)))


def _oddities(metadata: PackMetadata, names: Collection[str]) -> Iterator[Finding]:
    for path in (*metadata.charts, *metadata.manifests):
        if str(PurePosixPath(path)) not in names:
            yield Finding("listed-file-missing", f"pack.json lists {path}, which is not there")
    for dependency in metadata.constraints.dependencies:
        if not dependency.is_typed:
            yield Finding("dependency-without-type", f"{dependency.pack}: read as optional")
    state = metadata.annotations.get("system_state", "")
    if state in {"deprecated", "deleted"}:
        yield Finding(f"pack-{state}", f"its author calls this version {state}")
    if metadata.end_of_life:
        yield Finding("pack-end-of-life", f"supported until {metadata.end_of_life}")


class _Bounded:
    """A forward-only view for tarfile: counts what is unpacked, and refuses to build a huge header in memory."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self.stream, self.limits, self.position = stream, limits, 0

    def tell(self) -> int:
        return self.position

    def read(self, size: int) -> bytes:
        # Only kept files and headers are read; tarfile takes an extended header's size on trust.
        if not 0 <= size <= max(self.limits.header_bytes, PART_BYTES) + 1:
            raise ValueError(f"a header of {size} bytes")
        data = self.stream.read(size)
        self._advance(len(data))
        return data

    def seek(self, position: int) -> int:
        if position < self.position:
            raise ValueError("the archive leads backwards")
        while self.position < position:
            data = self.stream.read(min(position - self.position, 1 << 18))
            if not data:
                raise EOFError("the archive ends inside a member")
            self._advance(len(data))
        return self.position

    def _advance(self, count: int) -> None:
        self.position += count
        if self.position > self.limits.unpacked_bytes:
            raise ValueError(f"more than {self.limits.unpacked_bytes} bytes unpacked")
