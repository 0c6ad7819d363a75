"""`delta.json`: what a delta leaves out of its release, and which base has it.

A delta is its release's own index.json, chunk table and documents with fewer blobs behind them. The list stands in the
region and is signed beside index.json; until it is proven it is read as any other part of a head: bounded and strictly.

>>> delta = Delta.find(head.region, head.index, table)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bundles.archive.chunks import MEMBERS, ChunkTable
from bundles.archive.region import DELTA
from registry.errors import MediaError
from registry.oci import strictjson
from registry.oci.digest import Digest

DELTA_BYTES = 3 << 20
"""The region takes 4 MiB with roots and signatures; some 46 000 blobs can be left out."""
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_DIGEST = r"^sha256:[0-9a-f]{64}$"


class Base(BaseModel):
    """What has to be there before a delta is of use."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["Release", "Inventory"]
    name: str = Field(pattern=r"^[!-~]+( [!-~]+)*$", max_length=200)
    """For people: product, version and sequence, or the site and what it had."""
    digest: str = Field(pattern=_DIGEST)
    """Of the release's index.json, or of the inventory's file."""


class Delta(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    apiVersion: Literal["dryport/v1"] = "dryport/v1"  # noqa: N815
    kind: Literal["Delta"] = "Delta"
    index: str = Field(pattern=_DIGEST)
    """Of the index.json that it belongs to."""
    base: Base
    leftOut: tuple[Hex, ...] = Field(min_length=1, max_length=MEMBERS, strict=False)  # noqa: N815
    """The sha256 of each blob that is not here, sorted."""

    def encode(self) -> bytes:
        """Return its one canonical encoding."""
        return strictjson.canonical(self.model_dump(mode="json"))

    @property
    def names(self) -> frozenset[str]:
        """The members that are not here."""
        return frozenset(f"blobs/sha256/{one}" for one in self.leftOut)

    @classmethod
    def parse(cls, data: bytes) -> Delta:
        """Return what `data` says. Raises ValueError for anything but the one encoding of a delta."""
        found = cls.model_validate(strictjson.loads(data, limit=DELTA_BYTES))
        if list(found.leftOut) != sorted(set(found.leftOut)):
            raise ValueError("what is left out is not sorted, or listed twice")
        if found.encode() != data:
            raise ValueError("not in canonical form")
        return found

    @classmethod
    def find(cls, region: Mapping[str, bytes], index: bytes, table: ChunkTable) -> Delta | None:
        """Return the delta in a region, None for a full bundle. Raises MediaError if it is not of this release."""
        if DELTA not in region:
            return None
        try:
            found = cls.parse(region[DELTA])
            if found.index != str(Digest.of(index)):
                raise ValueError(f"it belongs to the release with index {found.index}")  # noqa: TRY301
            if unknown := found.names - {entry.name for entry in table.members}:
                raise ValueError(f"{len(unknown)} blob(s) that the release does not have are left out")  # noqa: TRY301
        except (ValueError, ValidationError) as error:
            raise MediaError(
                "delta-invalid",
                "the list of what the delta leaves out is not usable",
                where=DELTA,
                seen=str(error)[:300],
                hint="copy the delta again, or use the full bundle",
            ) from error
        return found
