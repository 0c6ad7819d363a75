"""Content digests: an algorithm and its hex value, valid or not existing.

No digest travels as a bare string. Source: OCI image-spec 1.1, "Digests".

>>> Digest.of(b"").hex[:8]
'e3b0c442'
>>> Digest.parse("sha256:" + "0" * 63)
Traceback (most recent call last):
...
ValueError: not a digest: ...
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import BinaryIO, Protocol

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


class Hasher(Protocol):
    """What hashlib's objects offer and we use."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in more bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """`algorithm:hex` with a registered algorithm and lower-case hex of its exact length."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        if len(self.hex) != _HEX_LENGTH.get(self.algorithm, -1) or not _HEX.fullmatch(self.hex):
            raise ValueError(f"not a digest: {f'{self.algorithm}:{self.hex}'[:150]!r}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that `text` spells; raises ValueError for anything else."""
        algorithm, _, encoded = text.partition(":")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of `data`."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def of_stream(cls, stream: BinaryIO, algorithm: str = "sha256") -> Digest:
        """Return the digest of all that is left in `stream`."""
        hasher = hashlib.new(algorithm)
        while block := stream.read(1 << 20):
            hasher.update(block)
        return cls(algorithm, hasher.hexdigest())

    def hasher(self) -> Hasher:
        """Return a fresh hasher of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def matches(self, data: bytes) -> bool:
        """Say whether `data` has this digest."""
        return Digest.of(data, self.algorithm) == self

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
