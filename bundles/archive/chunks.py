"""The chunk table: where every member behind it lies, and the digest of each of its 4 MiB.

It lets a reader prove any 4 MiB of a bundle without reading the rest, and name damage by its place. `index.json` names
the table by digest, so the table is as trusted as the index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.errors import MediaError
from registry.oci import strictjson
from registry.oci.digest import Digest

CHUNK_BYTES = 4 << 20
TABLE_BYTES = 64 << 20
MEMBERS = 100_000

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TableEntry(BaseModel):
    """One member: its place, its size and what proves its bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^blobs/sha256/[0-9a-f]{64}$")
    size: int = Field(ge=0)
    offset: int = Field(ge=0)
    chunks: tuple[Hex, ...] | None = Field(None, strict=False)

    @property
    def digest(self) -> Digest:
        """The digest of the whole member."""
        return digest_in(self.name)

    @property
    def proofs(self) -> Sequence[str]:
        """The sha256 of each chunk; that of the member itself where there is only one."""
        return self.chunks if self.chunks is not None else (self.digest.hex,)

    def chunk_range(self, number: int) -> tuple[int, int]:
        """Return where chunk `number` begins in the member, and its length."""
        begin = number * CHUNK_BYTES
        return begin, min(CHUNK_BYTES, self.size - begin)


class ChunkTable(BaseModel):
    """The whole table, in the order of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    apiVersion: Literal["dryport/v1"] = "dryport/v1"  # noqa: N815
    kind: Literal["ChunkTable"] = "ChunkTable"
    chunkSize: Literal[4194304] = 4194304  # noqa: N815
    members: tuple[TableEntry, ...] = Field(max_length=MEMBERS)

    def encode(self) -> bytes:
        """Return the table's one canonical encoding."""
        return strictjson.canonical(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def parse(cls, data: bytes) -> ChunkTable:
        """Return the table in authenticated bytes. Raises MediaError if its maker wrote nonsense."""
        try:
            table = cls.model_validate(strictjson.loads(data, limit=TABLE_BYTES))
            for entry in table.members:
                if (entry.size > CHUNK_BYTES) != (entry.chunks is not None) or (
                    entry.chunks is not None and len(entry.chunks) != chunk_count(entry.size)
                ):
                    raise ValueError(f"{entry.name}: the number of chunks does not fit its size")  # noqa: TRY301
            if len({entry.name for entry in table.members}) != len(table.members):
                raise ValueError("a member is listed twice")  # noqa: TRY301
        except (ValueError, ValidationError) as error:
            raise MediaError(
                "table-invalid",
                "the chunk table is signed but not usable",
                seen=str(error),
                hint="tell whoever made the bundle; nothing of it is used",
            ) from error
        return table


def chunk_count(size: int) -> int:
    """Return into how many chunks a member of `size` bytes falls."""
    return max(1, -(-size // CHUNK_BYTES))


def blob_name(digest: Digest) -> str:
    """Return the name of the member that holds a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def digest_in(name: str) -> Digest:
    """Return the digest that a blob member's name spells."""
    _, algorithm, encoded = name.split("/")
    return Digest(algorithm, encoded)


class ChunkHasher:
    """Hashes a member in one pass: as a whole, and by chunks where it is larger than one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self._whole = hashlib.sha256()
        self._chunks: list[str] = []
        self._chunk = hashlib.sha256()

    def update(self, data: bytes | memoryview) -> None:
        """Take in the next bytes."""
        self._whole.update(data)
        rest = memoryview(data)
        while self.size > CHUNK_BYTES and rest:
            room = CHUNK_BYTES - self.count % CHUNK_BYTES
            piece, rest = rest[:room], rest[room:]
            self._chunk.update(piece)
            self.count += len(piece)
            if self.count % CHUNK_BYTES == 0 or self.count == self.size:
                self._chunks.append(self._chunk.hexdigest())
                self._chunk = hashlib.sha256()
        self.count += len(rest)

    def copy(self) -> ChunkHasher:
        """Return one that goes on from here by itself."""
        other = ChunkHasher(self.size)
        other.count, other._chunks = self.count, list(self._chunks)
        other._whole, other._chunk = self._whole.copy(), self._chunk.copy()
        return other

    @property
    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return Digest("sha256", self._whole.hexdigest())

    @property
    def chunks(self) -> tuple[str, ...] | None:
        """The chunks' digests, once all bytes are in; None for a member of one chunk."""
        return tuple(self._chunks) if self.size > CHUNK_BYTES else None
