"""A pack's archive laid out as folder: below one new folder, whole or not at all.

Names in an archive are foreign. Only regular files are taken; each part of a name must be plain text that any file
system carries, and no two names may differ in case alone. Everything is written into a hidden folder beside the final
one, each file new and never through a link, and the folder is renamed when it is complete.

>>> unpack(data, Path("packs/web-1.0.0"))
"""

from __future__ import annotations

import gzip
import io
import secrets
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from registry.errors import DefinitionError
from registry.oci import targz
from registry.oci.digest import Digest
from registry.packs.reading import LIMITS, Limits
from registry.store import durable

_MOST_PART = 255


def listing(archive: bytes, where: str, limits: Limits = LIMITS) -> dict[str, tuple[Digest, int]]:
    """Return digest and mode of every file in a pack's archive, however it was packed. Raises DefinitionError."""
    return {name: (Digest.of(data), mode) for name, data, mode in _files(archive, where, limits)}


def unpack(archive: bytes, final: Path, limits: Limits = LIMITS) -> None:
    """Lay out an archive. Raises DefinitionError, FileExistsError or OSError; then nothing is left."""
    if final.exists() or final.is_symlink():
        raise FileExistsError(17, "File exists", str(final))
    part = final.with_name(f"{durable.TEMPORARY}{secrets.token_hex(8)}")
    try:
        part.mkdir()
        for name, data, mode in _files(archive, str(final), limits):
            place = part.joinpath(*PurePosixPath(name).parts)
            durable.make_folder(place.parent)
            durable.create(place, data, mode)
        durable.move(part, final)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _files(archive: bytes, where: str, limits: Limits) -> Iterator[tuple[str, bytes, int]]:
    """Yield name below the top folder, content and mode of every file. Raises DefinitionError."""
    names = _Names()
    left = limits.unpacked_bytes
    try:
        with (
            gzip.GzipFile(fileobj=io.BytesIO(archive)) as plain,
            tarfile.open(fileobj=plain, mode="r|", errorlevel=2) as tar,
        ):
            for info in tar:
                if info.isdir():
                    continue
                name = _name(info)
                left -= info.size
                names.add(name)
                if left < 0 or len(names.files) > limits.files:
                    raise ValueError("too large")  # noqa: TRY301 - one place says what is wrong
                reader = tar.extractfile(info)
                yield name, reader.read() if reader else b"", 0o755 if info.mode & 0o100 else 0o644
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise DefinitionError(
            "pack-archive-invalid",
            str(error) or type(error).__name__,
            where=where,
            hint="pull it as archive: --archive",
        ) from error


class _Names:
    """The names laid out so far; a name that would meet another one is refused."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.folders: set[str] = set()

    def add(self, name: str) -> None:
        path = PurePosixPath(name.lower())  # a file system may not tell cases apart
        above = {str(folder) for folder in path.parents}
        if str(path) in self.files or str(path) in self.folders or not above.isdisjoint(self.files):
            raise ValueError(f"two members would have the name {name!r}")
        self.files.add(str(path))
        self.folders |= above


def _name(info: tarfile.TarInfo) -> str:
    path = PurePosixPath(info.name)
    if not info.isreg():
        raise ValueError(f"a link or special file: {info.name[:100]!r}")
    below = path.parts[1:]
    if path.is_absolute() or not below or not all(_is_plain(part) for part in path.parts):
        raise ValueError(f"a name that is not laid out: {info.name[:100]!r}")
    return str(PurePosixPath(*below))


def _is_plain(part: str) -> bool:
    return part not in {"", ".", ".."} and targz.is_portable(part) and len(part.encode()) <= _MOST_PART
