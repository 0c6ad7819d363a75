"""What a site holds, signed by the site, small enough to go back over the gap on any medium.

A digest is spelled by its first 12 bytes: 5000 blobs take some 80 kB. Two blobs of one release that begin alike are
both carried. Whoever forged an inventory could make a delta too small, never wrong: the loader looks for every blob
that is left out by its whole digest.

>>> data = Inventory.of("plane", now, releases, digests).sign(signer)
>>> Inventory.read(data, site_key).holder([entry.digest for entry in full.table.members])
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer

from bundles.trust.signers import sign_detached
from bundles.trust.statement import MAX_SEQUENCE, moment, spell
from registry.errors import TrustError
from registry.oci import strictjson
from registry.oci.digest import Digest

PREFIX_BYTES = 12
INVENTORY_BYTES = 4 << 20
"""Some 250 000 blobs."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Accepted(_Strict):
    """The newest release of a product that the site took in."""

    product: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=128)
    sequence: int = Field(ge=1, le=MAX_SEQUENCE)
    index: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class Inventory(_Strict):
    """What the site says."""

    site: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=128)
    issued: str
    releases: tuple[Accepted, ...] = Field(max_length=1000, strict=False)
    blobs: str
    """Base64 of all beginnings in a row, sorted."""

    @field_validator("issued")
    @classmethod
    def _is_time(cls, text: str) -> str:
        moment(text)
        return text

    @field_validator("releases")
    @classmethod
    def _is_sorted(cls, releases: tuple[Accepted, ...]) -> tuple[Accepted, ...]:
        names = [one.product for one in releases]
        if names != sorted(set(names)):
            raise ValueError("releases are sorted by product, each once")
        return releases

    @field_validator("blobs")
    @classmethod
    def _is_list(cls, text: str) -> str:
        found = _pieces(text)
        if found != sorted(set(found)):
            raise ValueError("blobs are sorted, each once")
        return text

    @classmethod
    def of(
        cls, site: str, issued: datetime, releases: Iterable[tuple[str, int, Digest]], blobs: Iterable[Digest]
    ) -> Inventory:
        """Return the inventory of what a site holds."""
        listed = [Accepted(product=one, sequence=two, index=str(index)) for one, two, index in sorted(releases)]
        begun = sorted({_begin(digest) for digest in blobs if digest.algorithm == "sha256"})
        spelled = base64.b64encode(b"".join(begun)).decode()
        return cls(site=site, issued=spell(issued), releases=tuple(listed), blobs=spelled)

    @property
    def count(self) -> int:
        """How many blobs it lists."""
        return len(_pieces(self.blobs))

    @property
    def title(self) -> str:
        """What it stands for, in a line."""
        held = ", ".join(f"{one.product} sequence {one.sequence}" for one in self.releases)
        return f"site {self.site} as of {self.issued}, which holds {held or 'no release'}"[:200].strip()

    def holder(self, wanted: Iterable[Digest]) -> Callable[[Digest], bool]:
        """Return which of a release's blobs the site has; of two that begin alike neither counts."""
        alike = Counter(_begin(digest) for digest in set(wanted))
        held = set(_pieces(self.blobs))
        return lambda digest: _begin(digest) in held and alike[_begin(digest)] <= 1

    def sign(self, signer: Signer) -> bytes:
        """Return the file, signed."""
        said = self.model_dump(mode="json")
        signature = sign_detached(signer, strictjson.canonical(said)).hex()
        return _Envelope(inventory=self, signature=signature).encode()

    @classmethod
    def read(cls, data: bytes, key: Key) -> Inventory:
        """Return what a site says, once its signature is proven. Raises TrustError."""
        try:
            found = _Envelope.model_validate(strictjson.loads(data, limit=INVENTORY_BYTES))
            if found.encode() != data:
                raise ValueError("not in canonical form")  # noqa: TRY301 - one place makes the TrustError
        except (ValueError, ValidationError) as error:
            raise TrustError(
                "inventory-malformed",
                "this is no inventory of a site",
                seen=str(error)[:300],
                hint="make it again at the site: dryport site inventory SITE.yaml --store DIR --out FILE",
            ) from error
        said = strictjson.canonical(found.inventory.model_dump(mode="json"))
        try:
            key.verify_signature(Signature(key.keyid, found.signature), said)
        except UnverifiedSignatureError as error:
            raise TrustError(
                "inventory-signature-invalid",
                "the site whose key was given did not sign this inventory",
                expected=f"a signature by the key {key.keyid[:12]}",
                seen=f"an inventory in the name of {found.inventory.site}, signed by somebody else or changed",
                hint="copy it from the site again, and compare the key with the site's own: --site-key site.pub",
            ) from error
        return found.inventory


class _Envelope(_Strict):
    apiVersion: Literal["dryport/v1"] = "dryport/v1"  # noqa: N815
    kind: Literal["SiteInventory"] = "SiteInventory"
    inventory: Inventory
    signature: str = Field(pattern=r"^([0-9a-f]{2}){8,256}$")

    def encode(self) -> bytes:
        return strictjson.canonical(self.model_dump(mode="json"))


def _begin(digest: Digest) -> bytes:
    return bytes.fromhex(digest.hex)[:PREFIX_BYTES]


def _pieces(text: str) -> list[bytes]:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("blobs are base64") from error
    if len(data) % PREFIX_BYTES or base64.b64encode(data).decode() != text:
        raise ValueError(f"blobs are a row of {PREFIX_BYTES} bytes each")
    return [data[at : at + PREFIX_BYTES] for at in range(0, len(data), PREFIX_BYTES)]
