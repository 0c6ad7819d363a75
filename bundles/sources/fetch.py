"""The bytes of a locked blob, from where the lock says they come, from any byte on.

Nothing is kept on disk. Never more bytes come out than were locked; whether they are the right ones is for whoever
takes them to prove, who has those before `start` already.

>>> with Fetcher(inputs)(blob) as blocks:
...     for block in blocks: ...
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bundles.lock import (
    AptPackage,
    FolderArchive,
    Inline,
    LayoutBlob,
    LocalFile,
    LockedBlob,
    RegistryBlob,
    SourceBlob,
    UrlBlob,
    Wheel,
)
from bundles.sources import collections, wheels
from bundles.sources.apt.download import Downloads
from bundles.sources.inputs import Inputs, spelled
from bundles.sources.layouts import Layout, Place
from registry.client.pace import Throttle
from registry.errors import DefinitionError
from registry.oci.targz import folder_archive

BLOCK_BYTES = 1 << 20


class Fetcher:
    """Opens blobs of one lock for several threads; together they take from the network what `throttle` lets through."""

    def __init__(self, inputs: Inputs, throttle: Throttle | None = None) -> None:
        self._inputs = inputs
        self._throttle = throttle
        self._downloads = Downloads()

    @contextmanager
    def __call__(self, blob: LockedBlob, start: int = 0) -> Iterator[Iterator[bytes]]:
        """Give a blob's bytes from `start` on, in blocks. Raises DefinitionError, RemoteError."""
        with closing(_bounded(self._blocks(blob, start), blob, start)) as blocks:
            yield blocks

    def _blocks(self, blob: LockedBlob, start: int) -> Generator[bytes]:
        if 0 < start == blob.size:
            return
        match blob.origin:
            case Inline(text=text):
                yield text.encode()[start:]
            case LayoutBlob(layout=location):
                layout = Layout.of(self._inputs, location)
                yield from _read(layout.place(blob.digest), layout.folder, blob, start)
            case FolderArchive(folder=location, prefix=prefix, collections=beside):
                more = collections.resolve(beside or [], self._inputs)
                yield from _behind(start, folder_archive(self._inputs.directory(location), prefix, more))
            case LocalFile(file=location):
                path = self._inputs.file(location)
                yield from _read(Place(path, 0, path.stat().st_size), path, blob, start)
            case _:
                yield from self._paced(self._remote(blob, start))

    def _paced(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            if self._throttle:
                self._throttle.take(len(block))
            yield block

    def _remote(self, blob: LockedBlob, start: int) -> Iterator[bytes]:
        match blob.origin:
            case AptPackage() as package:
                return self._downloads.blocks(package, blob, start)
            case Wheel() as wheel:
                return wheels.blocks(wheel, blob, start, self._inputs.scratch)
            case RegistryBlob(repository=place):
                return self._inputs.require_registries().blocks(place, blob, start)
            case UrlBlob(url=url):
                return self._inputs.addresses.blocks(url, blob, start)
        raise DefinitionError(
            "source-missing",
            "this lock was made by a mirror, and its blobs come from there",
            where=described(blob),
            hint="dryport mirror copy SRC bundle:FILE",
        )


def described(blob: LockedBlob) -> str:
    """Return where a blob comes from, for a person."""
    match blob.origin:
        case Inline():
            return f"{blob.media_type} {blob.digest} in the lock itself"
        case LayoutBlob(layout=location):
            return f"{blob.digest} of layout {spelled(location)}"
        case FolderArchive(folder=location):
            return f"folder {spelled(location)}"
        case LocalFile(file=location):
            return f"file {spelled(location)}"
        case AptPackage(package=name, version=version):
            return f"package {name} {version}"
        case Wheel(file=name):
            return f"wheel {name}"
        case RegistryBlob(repository=name) | SourceBlob(repository=name):
            return f"{blob.digest} of {name}"
        case UrlBlob(url=url):
            return url


def _bounded(blocks: Iterable[bytes], blob: LockedBlob, start: int) -> Generator[bytes]:
    size = start
    for block in blocks:
        size += len(block)
        if size > blob.size:
            raise DefinitionError(
                "source-changed",
                f"{described(blob)} is not what was locked",
                where=described(blob),
                expected=f"{blob.size} bytes, {blob.digest}",
                seen=f"more than {blob.size} bytes",
                hint="bring the old one back, or lock again: dryport bundle lock bundle.yaml",
            )
        yield block


def _read(place: Place | None, path: Path, blob: LockedBlob, start: int) -> Iterator[bytes]:
    try:
        if place is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        yield from place.blocks(start)
    except OSError as error:
        raise DefinitionError(
            "source-missing",
            f"{described(blob)} cannot be read: {error.strerror}",
            where=str(path),
            hint="make it again; if it is another one now: dryport bundle lock bundle.yaml",
        ) from error


def _behind(start: int, blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in blocks:
        if rest := block[start:]:
            yield rest
        start -= min(start, len(block))
