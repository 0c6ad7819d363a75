"""An OVA (DMTF DSP0243, section 5.3): a tar whose first file is the .ovf, maybe followed by a manifest of digests.

>>> look(open("appliance.ova", "rb"))
(21474836480, {'guest': 'debian12_64Guest', 'hardware': 'vmx-19'})
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO, BinaryIO
from xml.etree import ElementTree as ET

BLOCK = 1 << 20
DESCRIPTION_BYTES = 4 << 20
ALGORITHMS = ("sha1", "sha256", "sha512")
"""What manifests in the field use; sha1 is compared, and trusted for nothing."""
_ENTRY = re.compile(r"SHA(1|256|512) ?\(([^)]{1,255})\) ?= ?([0-9a-fA-F]{40,128})")
_UNITS = {"byte": 1, "byte * 2^10": 1 << 10, "byte * 2^20": 1 << 20, "byte * 2^30": 1 << 30}


def look(stream: BinaryIO) -> tuple[int, Mapping[str, str]]:
    """Return the bytes of all disks, and guest type and hardware version where they are stated.

    Every digest of the manifest is checked. Raises ValueError, tarfile.TarError.
    """
    stream.seek(0)
    seen: dict[str, Mapping[str, str]] = {}
    described: dict[str, bytes] = {}
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise ValueError(f"{member.name[:100]!r} in it is no file")
            if member.name.endswith(".ovf") != (not seen):
                raise ValueError("its first file, and that alone, has to be the .ovf")
            if member.name.endswith((".ovf", ".mf")):
                described[member.name[-3:].lstrip(".")] = _description(member.name, content)
                content.seek(0)
            seen[member.name] = _digests(content)
    for algorithm, name, digest in _ENTRY.findall(described.get("mf", b"").decode()):
        if seen.get(name, {}).get(f"sha{algorithm}") != digest.lower():
            raise ValueError(f"{name!r} in it is not what its manifest (.mf) says")
    return _described(described.get("ovf", b""))


def _description(name: str, content: IO[bytes]) -> bytes:
    data = content.read(DESCRIPTION_BYTES + 1)
    if len(data) > DESCRIPTION_BYTES:
        raise ValueError(f"{name[:100]!r} in it is too large for a description")
    return data


def _digests(content: IO[bytes]) -> Mapping[str, str]:
    hashers = {name: hashlib.new(name, usedforsecurity=False) for name in ALGORITHMS}
    while block := content.read(BLOCK):
        for hasher in hashers.values():
            hasher.update(block)
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}


def _described(data: bytes) -> tuple[int, Mapping[str, str]]:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("its .ovf declares entities")
    try:
        root = ET.fromstring(data)  # noqa: S314 - it has no entities to expand
    except ET.ParseError as error:
        raise ValueError(f"its .ovf is no XML: {error}") from error
    size, facts = 0, {}
    for name, attributes, text in _elements(root):
        if name == "Disk" and attributes.get("capacity", "").isdecimal():
            unit = " ".join(attributes.get("capacityAllocationUnits", "byte").split())
            size += int(attributes["capacity"][:18]) * _UNITS.get(unit, 1)
        elif name == "OperatingSystemSection" and "osType" in attributes:
            facts["guest"] = attributes["osType"][:100]
        elif name == "VirtualSystemType" and text:
            facts["hardware"] = text[:100]
    return size, facts


def _elements(root: ET.Element) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Yield each element's name and attributes, without their namespaces, and its text."""
    for element in root.iter():
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        yield element.tag.rpartition("}")[2], attributes, (element.text or "").strip()
