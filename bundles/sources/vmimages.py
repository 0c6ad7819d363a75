"""Disk images: what kind one is, how large its disk is, and both digests that clouds ask for.

Glance tells sha512, vSphere's content library sha256: one pass makes both. An image is told by its content, never by
its name; what is in it is not looked at beyond the first descriptions, and those within bounds.

>>> look(open("debian-12.qcow2", "rb"), size)
Disk(format='qcow2', virtual_size=3221225472, facts={})
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from bundles.definition import VmImageEntry
from bundles.lock import LocalFile, LockedArtifact, LockedBlob
from bundles.sources import ova
from bundles.sources.artifact import Layer, made
from bundles.sources.inputs import Inputs, spelled
from registry.errors import DefinitionError
from registry.oci.digest import Digest

TYPE = "application/vnd.dryport.vmimage.v1"
FORMAT, VIRTUAL, SHA512, PLATFORM = (f"dev.dryport.vmimage.{name}" for name in ("format", "size", "sha512", "platform"))
BLOCK = 1 << 20
QCOW = b"QFI\xfb"
ISO_AT, ISO = 32769, b"CD001"
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Disk:
    """What an image says of itself."""

    format: str
    virtual_size: int
    """Bytes of the disk that a machine sees."""
    facts: Mapping[str, str] = field(default_factory=dict)


def resolve(entry: VmImageEntry, version: str, inputs: Inputs) -> LockedArtifact:
    """Return the locked image. Raises DefinitionError for what is no image, or not the pinned one."""
    path = inputs.file(entry.file)
    where = f"{spelled(entry.file)} ({path})"
    try:
        with path.open("rb") as stream:
            sha256, sha512, size = _digests(stream)
            disk = look(stream, size)
    except (OSError, ValueError, tarfile.TarError, EOFError) as error:
        raise DefinitionError(
            "vmimage-invalid",
            "the file is no disk image that can be carried",
            where=where,
            expected="an OVA, a qcow2 without a backing file, an ISO 9660 image, or a raw disk with a boot sector",
            seen=str(error),
            hint="export the image again, whole",
        ) from error
    if entry.sha256 not in {None, sha256}:
        raise DefinitionError(
            "checksum-mismatch",
            f"{spelled(entry.file)} is not the file that the definition pins",
            where=where,
            expected=f"sha256 {entry.sha256}",
            seen=f"sha256 {sha256}",
            hint="get the right file, or mend the sha256 in the definition",
        )
    blob = LockedBlob(
        digest=Digest("sha256", sha256),
        size=size,
        media_type=f"{TYPE}.{disk.format}",
        origin=LocalFile(file=entry.file),
    )
    told = {FORMAT: disk.format, VIRTUAL: str(disk.virtual_size), SHA512: sha512, PLATFORM: entry.platform}
    facts = {f"dev.dryport.vmimage.{name}": text for name, text in disk.facts.items()}
    return made(
        "vmimage",
        TYPE,
        f"dryport/vmimage/{entry.name}:{version}",
        [Layer(path.name, blob)],
        annotations=told | facts,
        title=f"{disk.format} image {entry.name} for {entry.platform}",
    )


def look(stream: BinaryIO, size: int) -> Disk:
    """Return what an image is. Raises ValueError, tarfile.TarError."""
    start = _at(stream, 0, SECTOR)
    if start.startswith(QCOW):
        return _qcow(start)
    if _at(stream, ISO_AT, len(ISO)) == ISO:
        return Disk("iso", size)
    if start[257:262] == b"ustar" or (b".ovf\0" in start[:100]):
        size, facts = ova.look(stream)
        return Disk("ova", size, facts)
    if start[510:512] == b"\x55\xaa" and size % SECTOR == 0:
        return Disk("raw", size)
    raise ValueError("none of the known beginnings")


def _qcow(start: bytes) -> Disk:
    """Read a qcow2 header (QEMU, docs/interop/qcow2: magic, version, backing file, size; all big-endian)."""
    version, backing = int.from_bytes(start[4:8]), int.from_bytes(start[8:16])
    if version not in (2, 3):
        raise ValueError(f"qcow of version {version}")
    if backing:
        raise ValueError("it stands on a backing file, which would not come along")
    return Disk("qcow2", int.from_bytes(start[24:32]))


def _digests(stream: BinaryIO) -> tuple[str, str, int]:
    sha256, sha512, size = hashlib.sha256(), hashlib.sha512(), 0
    while block := stream.read(BLOCK):
        sha256.update(block)
        sha512.update(block)
        size += len(block)
    return sha256.hexdigest(), sha512.hexdigest(), size


def _at(stream: BinaryIO, offset: int, length: int) -> bytes:
    stream.seek(offset)
    return stream.read(length)
