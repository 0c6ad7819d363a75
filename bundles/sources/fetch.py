"""The bytes of a locked blob, from where the lock says they come. Each stream checks itself before it ends.

Nothing is kept on disk here. A source that is not what was locked raises `source-changed`, at the latest instead of
the stream's end: whoever writes the bytes has not finished then.

>>> with Fetcher(inputs)(blob) as blocks:
...     for block in blocks: ...
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from bundles.lock import AptPackage, FolderArchive, Inline, LayoutBlob, LocalFile, LockedBlob, SourceBlob
from bundles.sources.apt.download import Downloads
from bundles.sources.images import Layout
from bundles.sources.inputs import Inputs, spelled
from registry.errors import DefinitionError
from registry.oci.targz import folder_archive

BLOCK_BYTES = 1 << 20


class Fetcher:
    """Opens blobs of one lock; may be called from several threads."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._downloads = Downloads()

    def __call__(self, blob: LockedBlob) -> AbstractContextManager[Iterator[bytes]]:
        """Give a blob's bytes in blocks. Raises DefinitionError, RemoteError."""
        return self._opened(blob)

    @contextmanager
    def _opened(self, blob: LockedBlob) -> Iterator[Iterator[bytes]]:
        blocks = self._blocks(blob)
        with closing(_checked(blocks, blob)) as checked:
            yield checked

    def _blocks(self, blob: LockedBlob) -> Iterator[bytes]:
        match blob.origin:
            case Inline(text=text):
                return iter([text.encode()])
            case LayoutBlob(layout=location):
                return _file(Layout(self._inputs.directory(location), location).path(blob.digest), blob)
            case FolderArchive(folder=location, prefix=prefix):
                return folder_archive(self._inputs.directory(location), prefix)
            case LocalFile(file=location):
                return _file(self._inputs.file(location), blob)
            case AptPackage() as package:
                return self._downloads.blocks(package, blob)
            case SourceBlob(repository=name):
                raise DefinitionError(
                    "source-missing",
                    "this lock was made by a mirror, and its blobs come from there",
                    where=f"{name}@{blob.digest}",
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
        case SourceBlob(repository=name):
            return f"{blob.digest} of {name}"


def _file(path: Path, blob: LockedBlob) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise DefinitionError(
            "source-missing",
            f"{described(blob)} cannot be read: {error.strerror}",
            where=str(path),
            hint="make it again; if it is another one now: dryport bundle lock bundle.yaml",
        ) from error


def _checked(blocks: Iterable[bytes], blob: LockedBlob) -> Generator[bytes]:
    hasher, size = blob.digest.hasher(), 0
    for block in blocks:
        size += len(block)
        if size > blob.size:
            raise _changed(blob, f"more than {blob.size} bytes")
        hasher.update(block)
        yield block
    if size != blob.size or hasher.hexdigest() != blob.digest.hex:
        raise _changed(blob, f"{size} bytes, {blob.digest.algorithm}:{hasher.hexdigest()}")


def _changed(blob: LockedBlob, seen: str) -> DefinitionError:
    return DefinitionError(
        "source-changed",
        f"{described(blob)} is not what was locked",
        where=described(blob),
        expected=f"{blob.size} bytes, {blob.digest}",
        seen=seen,
        hint="bring the old one back, or lock again: dryport bundle lock bundle.yaml",
    )
