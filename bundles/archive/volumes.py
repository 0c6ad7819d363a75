"""A bundle cut into volumes: files of a size that a medium takes, each a header block and a slice of the one tar.

Volumes are read where they lie, in one folder or in several, and never joined. Every byte of a header follows from the
bundle's signed index and the volume's number, so no byte of it is free; slices begin at multiples of 4096, so that a
file system can still share their blocks.

>>> cut = Cut.of(total=10_000_000_000, volume_bytes=4 << 30)
>>> cut.count, cut.slice(2)
(3, (4294963200, 8589926400))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.errors import MediaError, UsageError
from registry.oci import strictjson
from registry.oci.digest import Digest

HEADER_BYTES = 4096
LEAST_BYTES = 16 << 20
"""The head and the region lie in the first volume, whole: what signs a bundle writes into one file."""
MOST = 999
PRESETS = {"fat32": (4 << 30) - (1 << 20), "dvd": 4_700_000_000, "dvd-dl": 8_500_000_000, "bluray": 25_000_000_000}
"""Bytes of a file that such a medium takes; FAT32 takes one byte less than 4 GiB."""
_NAME = re.compile(r"(?P<base>.+)\.(?P<number>[0-9]{3})-of-(?P<count>[0-9]{3})")
_SIZE = re.compile(r"([0-9]{1,15})(?:\s*(B|kB|MB|GB|KiB|MiB|GiB))?")
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def volume_bytes(text: str) -> int:
    """Return the size that a person named: a preset, or a number with a unit. Raises UsageError."""
    found = _SIZE.fullmatch(text.strip())
    size = PRESETS.get(text.lower()) or (int(found[1]) * _UNITS[found[2] or "B"] if found else 0)
    if size < LEAST_BYTES:
        raise UsageError(
            "volume-size",
            "not a size for volumes",
            expected=f"{', '.join(PRESETS)}, or a number of B, MB, GB, MiB, GiB, at least {LEAST_BYTES >> 20} MiB",
            seen=text[:50],
            hint="--volume-size fat32",
        )
    return size


@dataclass(frozen=True, slots=True)
class Cut:
    """How a tar of `total` bytes is cut: all slices but the last have `payload` bytes."""

    total: int
    payload: int

    @classmethod
    def of(cls, total: int, volume_bytes: int) -> Cut:
        """Return the cut into files of at most `volume_bytes`. Raises UsageError if they would be too many."""
        payload = (volume_bytes - HEADER_BYTES) // HEADER_BYTES * HEADER_BYTES
        cut = cls(total, payload)
        if cut.count > MOST:
            raise UsageError(
                "volumes-too-many",
                "the bundle would have too many volumes",
                expected=f"at most {MOST}",
                seen=str(cut.count),
                hint=f"make them larger than {total // MOST} bytes",
            )
        return cut

    @property
    def count(self) -> int:
        """How many volumes there are."""
        return max(1, -(-self.total // self.payload))

    def slice(self, number: int) -> tuple[int, int]:
        """Return where volume `number` (from 1) begins in the tar, and the first byte behind it."""
        return (number - 1) * self.payload, min(number * self.payload, self.total)

    @property
    def slices(self) -> tuple[tuple[int, int], ...]:
        """All slices, in order."""
        return tuple(self.slice(number) for number in range(1, self.count + 1))

    def pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield the volumes that hold a stretch of the tar: number, position in its file, length."""
        end = offset + length
        while offset < end:
            number = offset // self.payload + 1
            begin, stop = self.slice(number)
            size = min(end, stop) - offset
            if size <= 0:
                return
            yield number, HEADER_BYTES + offset - begin, size
            offset += size

    def name(self, base: str, number: int) -> str:
        """Return a volume's file name."""
        return f"{base}.{number:03}-of-{self.count:03}"


class Header(BaseModel):
    """A volume's first block: canonical JSON, then zeros."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    apiVersion: str = Field("dryport/v1", pattern=r"^dryport/v1$")  # noqa: N815
    kind: str = Field("Volume", pattern=r"^Volume$")
    number: int = Field(ge=1, le=MOST)
    count: int = Field(ge=1, le=MOST)
    offset: int = Field(ge=0)
    """Where its slice begins in the tar."""
    length: int = Field(ge=0)
    total: int = Field(ge=1)
    """Bytes of the whole tar."""
    index: str
    """The digest of the bundle's index.json: volumes of one bundle bear the same."""

    @classmethod
    def of(cls, cut: Cut, number: int, index: Digest) -> Header:
        """Return the header of one volume."""
        begin, end = cut.slice(number)
        return cls(number=number, count=cut.count, offset=begin, length=end - begin, total=cut.total, index=str(index))

    @property
    def cut(self) -> Cut:
        """The cut that this volume belongs to."""
        return Cut(
            self.total,
            self.length if self.number < self.count else self.offset // max(1, self.number - 1) or self.total,
        )

    def encode(self) -> bytes:
        """Return the block."""
        data = strictjson.canonical(self.model_dump(mode="json"))
        return data + bytes(HEADER_BYTES - len(data))

    @classmethod
    def parse(cls, block: bytes) -> Header | None:
        """Return the header in a block, None for what is no volume's at all. Raises ValueError for a broken one."""
        if not block.startswith(b'{"apiVersion":"dryport/v1","count":'):
            return None
        data, _, rest = block.partition(b"\0")
        try:
            header = cls.model_validate(strictjson.loads(data, limit=HEADER_BYTES))
            Digest.parse(header.index)
        except ValidationError as error:
            raise ValueError("; ".join(str(one["msg"]) for one in error.errors())) from error
        if any(rest) or header.encode() != block:
            raise ValueError("not in its one canonical form")
        if Header.of(header.cut, header.number, Digest.parse(header.index)) != header:
            raise ValueError("its number, place and length do not go together")
        return header


@dataclass(frozen=True, slots=True)
class Volumes:
    """The files of one bundle that were found, by number."""

    cut: Cut
    index: str
    base: str
    files: dict[int, Path]

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of those that were not."""
        return tuple(number for number in range(1, self.cut.count + 1) if number not in self.files)


def find(path: Path, folders: Iterable[Path] = (), *, is_whole: bool = True) -> Volumes | None:
    """Return the volumes that `path` belongs to, or that are named after it; None if it is no volume of anything.

    Others are looked for beside it and in `folders`. Raises MediaError for a header that is broken, or of another set;
    with `is_whole=False` such a file is passed over, as if it were not there.
    """
    places = [path.parent, *folders]
    match = _NAME.fullmatch(path.name)
    base = match["base"] if match else path.name
    candidates = [path] if path.is_file() else []
    candidates += [one for one in named(base, places) if one != path]
    if path.is_file() and match is None and _tolerant(path, is_whole=is_whole) is None:
        return None  # one file, whatever lies beside it
    readable = [(one, header) for one in candidates if (header := _tolerant(one, is_whole=is_whole))]
    if not readable or (is_whole and readable[0][0] != candidates[0]):
        return None
    first, header = readable[0]
    files = {header.number: first}
    for other in named(base, places):
        seen = _tolerant(other, is_whole=is_whole)
        if not is_whole and (seen is None or (seen.index, seen.cut) != (header.index, header.cut)):
            continue
        if seen is None or (seen.index, seen.cut) != (header.index, header.cut) or seen.number in files:
            if other.name != first.name and (seen is None or seen.number not in files):
                raise MediaError(
                    "volume-foreign",
                    "a file bears the name of a volume and is one of another bundle",
                    where=str(other),
                    expected=f"volume of {header.index}",
                    seen=f"volume {seen.number} of {seen.index}" if seen else "no volume",
                    hint="take it away, and put this bundle's own volume there",
                )
            continue
        files[seen.number] = other
    return Volumes(header.cut, header.index, base, files)


def _tolerant(path: Path, *, is_whole: bool) -> Header | None:
    try:
        return _header(path)
    except MediaError:
        if is_whole:
            raise
        return None


def named(base: str, places: Iterable[Path]) -> list[Path]:
    """Return the files that bear the names of volumes of `base`."""
    found = [one for place in places if place.is_dir() for one in sorted(place.iterdir())]
    return [one for one in found if (match := _NAME.fullmatch(one.name)) and match["base"] == base and one.is_file()]


def _header(path: Path) -> Header | None:
    try:
        with path.open("rb") as stream:
            return Header.parse(stream.read(HEADER_BYTES))
    except ValueError as error:
        raise MediaError(
            "volume-damaged",
            "a volume's header is damaged",
            where=f"{path} bytes 0-{HEADER_BYTES - 1}",
            seen=str(error),
            hint="copy this volume again from its origin",
        ) from error
    except OSError as error:
        raise MediaError(
            "medium-unreadable",
            f"a volume cannot be read: {error.strerror}",
            where=str(path),
            hint="copy the volume again from its origin, or use another medium",
        ) from error
