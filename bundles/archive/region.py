"""The reserved region: 4 MiB of tar members that signing may rewrite in place.

For given files there is exactly one region, so a reader unpacks, packs again and compares: no byte of it is free.

>>> unpack_region(pack_region({"metadata/1.root.json": b"{}"}))
{'metadata/1.root.json': b'{}'}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from bundles.archive import tar
from registry.errors import MediaError, TrustError

REGION_BYTES = 4 << 20
PAD = "metadata/pad"
DELTA = "metadata/delta.json"
"""What a delta leaves out; in its region since it is signed beside index.json, and written before that."""
_NAME = re.compile(r"metadata/[A-Za-z0-9][A-Za-z0-9._-]{0,80}")
_ROOT = re.compile(r"metadata/([1-9][0-9]{0,5})\.root\.json")


def pack_region(files: Mapping[str, bytes]) -> bytes:
    """Return the region's bytes. Raises TrustError `region-full` if the files need more than 4 MiB."""
    packed = bytearray()
    for name in sorted(files, key=_order):
        if name == PAD or not _NAME.fullmatch(name):
            raise ValueError(f"not a name in the region: {name!r}")
        data = files[name]
        packed += tar.header(name, len(data)) + data + bytes(tar.padded(len(data)) - len(data))
    room = REGION_BYTES - len(packed) - tar.BLOCK
    if room < 0:
        raise TrustError(
            "region-full",
            "the signed metadata does not fit into the bundle",
            expected=f"at most {REGION_BYTES} bytes with headers",
            seen=f"{len(packed) + tar.BLOCK} bytes",
            hint="sign with fewer old root files only if every site already knows a later one",
        )
    return bytes(packed) + tar.header(PAD, room) + bytes(room)


def unpack_region(data: bytes) -> dict[str, bytes]:
    """Return the files in a region, none for an unsigned bundle. Raises MediaError for any other shape."""
    files: dict[str, bytes] = {}
    at = 0
    try:
        while (name := _name(data[at : at + tar.BLOCK])) != PAD:
            size = tar.size_of(name, data[at : at + tar.BLOCK])
            files[name] = data[at + tar.BLOCK : at + tar.BLOCK + size]
            at += tar.BLOCK + tar.padded(size)
        if pack_region(files) != data:
            raise ValueError("bytes that belong to no file")  # noqa: TRY301 - one place makes the MediaError
    except (ValueError, TrustError) as error:
        raise MediaError(
            "region-damaged",
            "the reserved region is not a row of metadata files closed by a pad",
            where=f"byte {at} of the region",
            seen=str(error),
            hint="copy the bundle again; whoever builds it can also sign it again",
        ) from error
    return files


def front_of_region(read: Callable[[int, int], bytes]) -> dict[str, bytes]:
    """Return the files of a region without a look at the pad behind them; `read` gives bytes at a place in it.

    For who only looks: what follows the last file is compared when the bundle is verified. Raises MediaError.
    """
    files: dict[str, bytes] = {}
    at = 0
    try:
        while (name := _name(block := read(at, tar.BLOCK))) != PAD:
            size = tar.size_of(name, block)
            if at + tar.BLOCK + tar.padded(size) > REGION_BYTES - tar.BLOCK:
                raise ValueError(f"{name} is larger than the region")  # noqa: TRY301 - as above
            files[name] = read(at + tar.BLOCK, size)
            at += tar.BLOCK + tar.padded(size)
    except ValueError as error:
        raise MediaError(
            "region-damaged",
            "the reserved region does not begin with metadata files closed by a pad",
            where=f"byte {at} of the region",
            seen=str(error),
            hint="copy the bundle again; whoever builds it can also sign it again",
        ) from error
    return files


def _name(block: bytes) -> str:
    name = block[: tar.NAME_BYTES].rstrip(b"\0").decode("ascii")
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a metadata file, found {tar.describe(block)}")
    return name


def _order(name: str) -> tuple[int, str]:
    root = _ROOT.fullmatch(name)
    return (int(root[1]), name) if root else (1_000_000, name)
