"""Packs as their authors describe them: logo, README, values, versions and images, read from the served archive.

Archives are foreign: they are read bounded, nothing is unpacked, and what was read is remembered by its digest.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from registry.content import Content
from registry.errors import DryportError
from registry.oci.digest import Digest
from registry.oci.reference import Reference
from registry.packs.model import NAMESPACE, Pack
from registry.packs.place import is_derived
from registry.packs.reading import Limits, read_book
from registry.server.catalogue.kinds import is_pack
from registry.server.catalogue.repositories import versions
from registry.server.catalogue.viewer import PAGE_ROWS, Name, NotVisibleError, Page, Shown, Viewer, cut

README, LOGOS = ("README.md", "readme.md", "Readme.md"), {"logo.png": b"\x89PNG\r\n\x1a\n", "logo.jpg": b"\xff\xd8\xff"}
_ALSO = dict.fromkeys((*README, *LOGOS), 1 << 20)
_LIMITS = Limits(unpacked_bytes=256 << 20)
_READ_BYTES = 1 << 18
_HEAVY, _LIGHT = 32, 4096
SHOWN_BYTES = 256 << 10
"""How much of a text a page shows; the whole is in the archive."""


class Dependency(Shown):
    """Another pack that this one speaks of."""

    name: str
    kind: str
    range: str


class PackImage(Shown):
    """A declared image, and where this registry serves it."""

    reference: str
    served_at: str = ""


class Finding(Shown):
    """Something odd about a pack."""

    reference: str
    text: str


class PackRow(Shown):
    """A pack in a list: its newest version."""

    repository: str
    name: str
    title: str
    version: str
    versions: int
    layer: str = ""
    addon_type: str = ""
    clouds: Sequence[str] = ()
    logo: str = ""
    """Digest of the archive that holds the logo; empty if it holds none."""
    fault: str = ""


class PackView(Shown):
    """One version of a pack."""

    row: PackRow
    digest: str
    archive: str
    archive_size: int
    all_versions: Sequence[str]
    readme: str
    values: str
    is_cut: bool
    images: Sequence[PackImage]
    dependencies: Sequence[Dependency]
    charts: Sequence[str]
    manifests: Sequence[str]
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Book:
    """What one archive holds; `fault` says why it holds nothing."""

    pack: Pack | None
    readme: str = ""
    values: str = ""
    logo: bytes = b""
    fault: str = ""


class Shelf:
    """What was read, by the archive's digest: many packs without their texts, few with them.

    What is remembered is told only where the repository that is asked holds the archive too.
    """

    def __init__(self) -> None:
        self._heavy: OrderedDict[Digest, Book] = OrderedDict()
        self._light: OrderedDict[Digest, tuple[Pack | None, str, bool]] = OrderedDict()
        self._turn = threading.Lock()  # one archive is read at a time: listing packs must not fill the memory

    def book(self, viewer: Viewer, repository: str, layer: Digest) -> Book:
        """Return what an archive holds. Raises NotVisibleError if it is not here."""
        with self._turn, _opened(viewer, repository, layer) as content:
            if layer in self._heavy:
                self._heavy.move_to_end(layer)
                return self._heavy[layer]
            book = _read(content, f"{repository}@{layer}")
            self._heavy[layer] = book
            self._light[layer] = (book.pack, book.fault, bool(book.logo))
            for kept, most in ((self._heavy, _HEAVY), (self._light, _LIGHT)):
                while len(kept) > most:
                    kept.popitem(last=False)
            return book

    def summary(self, viewer: Viewer, repository: str, layer: Digest) -> tuple[Pack | None, str, bool]:
        """Return a pack, or what is wrong with it, and whether it has a logo. Raises NotVisibleError."""
        if known := self._light.get(layer):
            with _opened(viewer, repository, layer):
                return known
        book = self.book(viewer, repository, layer)
        return book.pack, book.fault, bool(book.logo)


def packs(viewer: Viewer, shelf: Shelf, query: str = "", page: int = 1, size: int = PAGE_ROWS) -> Page[PackRow]:
    """Return the packs whose repository holds every word of `query`, each in its newest version."""
    words = query.lower().split()
    names = [name for name in viewer.repositories() if is_pack(name) and all(word in name for word in words)]
    shown, pages = cut(names, page, size)
    rows = [_row(viewer, shelf, name, tags) for name in shown if (tags := _versions(viewer, name))]
    return Page(total=len(names), page=page, pages=pages, rows=rows)


def pack(viewer: Viewer, shelf: Shelf, name: Name) -> PackView:
    """Return a version of a pack, the newest if none is named. Raises NotVisibleError."""
    if not viewer.may_see(name.repository) or not is_pack(name.repository):
        raise NotVisibleError
    tags = _versions(viewer, name.repository)
    tag = name.tag or next(iter(tags), None)
    if tag is None:
        raise NotVisibleError
    found = viewer.find(Name(name.repository, tag=tag))
    layer = found.manifest.blobs[-1] if found.manifest.blobs else None
    if layer is None:
        raise NotVisibleError
    book = shelf.book(viewer, name.repository, layer.digest)
    one = book.pack
    return PackView(
        row=_row(viewer, shelf, name.repository, tags, tag),
        digest=str(found.digest),
        archive=str(layer.digest),
        archive_size=layer.size,
        all_versions=tags,
        readme=book.readme,
        values=book.values[:SHOWN_BYTES],
        is_cut=len(book.values) > SHOWN_BYTES,
        images=_images(viewer, name.repository, one) if one else (),
        dependencies=_dependencies(one) if one else (),
        charts=one.metadata.charts if one else (),
        manifests=one.metadata.manifests if one else (),
        findings=[Finding(reference=note.reference, text=note.text) for note in (one.notes if one else ())],
    )


def _versions(viewer: Viewer, repository: str) -> list[str]:
    """Return the versions of a pack, newest first; parent and group tags only stand for one of them."""
    return [tag for tag in versions(viewer, repository) if not is_derived(tag)]


def logo(viewer: Viewer, shelf: Shelf, name: Name) -> tuple[bytes, str]:
    """Return the logo in the archive that is named by digest, and its media type. Raises NotVisibleError."""
    if name.digest is None or not viewer.may_see(name.repository) or not is_pack(name.repository):
        raise NotVisibleError
    data = shelf.book(viewer, name.repository, name.digest).logo
    if not data:
        raise NotVisibleError
    return data, "image/png" if data.startswith(LOGOS["logo.png"]) else "image/jpeg"


def _row(viewer: Viewer, shelf: Shelf, repository: str, tags: Sequence[str], tag: str | None = None) -> PackRow:
    shown = tag or tags[0]
    short = repository.rpartition("/")[2]
    try:
        manifest = viewer.find(Name(repository, tag=shown)).manifest
        layer = manifest.blobs[-1].digest
        one, fault, has_logo = shelf.summary(viewer, repository, layer)
    except (NotVisibleError, ValueError, IndexError):
        one, fault, has_logo, layer = None, "the archive is not here", False, None
    if one is None:
        return PackRow(
            repository=repository, name=short, title=short, version=shown, versions=len(tags), fault=fault or "unread"
        )
    about = one.metadata
    return PackRow(
        repository=repository,
        name=about.name,
        title=about.display_name or about.name,
        version=shown,
        versions=len(tags),
        layer=about.layer,
        addon_type=about.addon_type,
        clouds=about.cloud_types,
        logo=str(layer) if has_logo else "",
    )


@contextmanager
def _opened(viewer: Viewer, repository: str, layer: Digest) -> Iterator[Content]:
    content = viewer.sources.blob(repository, layer)
    if content is None:
        raise NotVisibleError
    try:
        yield content
    finally:
        content.close()


def _read(content: Content, where: str) -> Book:
    stream = io.BufferedReader(_ContentStream(content), _READ_BYTES)
    try:
        pack, files = read_book(cast("BinaryIO", stream), where, _ALSO, _LIMITS)
    except DryportError as error:
        return Book(None, fault=error.message)
    readme = next((files[name] for name in README if name in files), b"")
    logos = (files[name] for name, start in LOGOS.items() if files.get(name, b"").startswith(start))
    values = files.get("values.yaml", b"")[: SHOWN_BYTES + 1]
    return Book(pack, readme.decode("utf-8", "replace"), values.decode("utf-8", "replace"), next(logos, b""))


class _ContentStream(io.RawIOBase):
    """A content as a stream that is read from its start to its end."""

    def __init__(self, content: Content) -> None:
        self._content, self._at = content, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._content.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _images(viewer: Viewer, repository: str, pack: Pack) -> list[PackImage]:
    """Return the declared images, each with where this registry serves it, below the same base path as the pack."""
    base, shown = repository.partition(f"{NAMESPACE}/")[0], []
    for declared in pack.images:
        here = ""
        try:
            reference = Reference.parse(declared.reference)
            name = Name(base + reference.served_at, tag=reference.tag, digest=reference.digest)
            viewer.find(name)
            here = str(name)
        except (NotVisibleError, ValueError):
            pass
        shown.append(PackImage(reference=declared.reference, served_at=here))
    return shown


def _dependencies(pack: Pack) -> list[Dependency]:
    return [
        Dependency(
            name=one.pack,
            kind=one.kind,
            range=" ".join(
                f"{word} {bound}" for word, bound in (("from", one.min_version), ("up to", one.max_version)) if bound
            ),
        )
        for one in pack.metadata.constraints.dependencies
    ]
