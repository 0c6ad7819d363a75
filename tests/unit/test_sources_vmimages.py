"""Disk images, told by their content; what is none, or would not work without more, is refused."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.definition import Location, VmImageEntry
from bundles.lock import LockedArtifact
from bundles.sources import ova, vmimages
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError
from registry.oci import strictjson

OVF = """<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="x">
 <DiskSection><Disk ovf:capacity="20" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="d"/></DiskSection>
 <VirtualSystem><OperatingSystemSection vmw:osType="debian12_64Guest"/>
 <VirtualHardwareSection><System><vssd:VirtualSystemType>vmx-19</vssd:VirtualSystemType></System>
 </VirtualHardwareSection></VirtualSystem>
</Envelope>"""


def qcow(size: int = 3 << 30, backing: int = 0, version: int = 3) -> bytes:
    return (b"QFI\xfb" + struct.pack(">IQIIQ", version, backing, 0, 16, size)).ljust(2048, b"\0")


def iso() -> bytes:
    return bytes(32768) + b"\x01CD001\x01" + bytes(4000)


def raw() -> bytes:
    return bytes(510) + b"\x55\xaa" + bytes(4096)


def archive(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.TarFile(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def appliance(disk: bytes = b"disk", stated: str | None = None) -> bytes:
    lines = f"SHA256(a.ovf)= {hashlib.sha256(OVF.encode()).hexdigest()}\n"
    lines += f"SHA256(a.vmdk)= {stated or hashlib.sha256(disk).hexdigest()}\n"
    return archive(("a.ovf", OVF.encode()), ("a.mf", lines.encode()), ("a.vmdk", disk))


def resolved(folder: Path, data: bytes, sha256: str | None = None) -> LockedArtifact:
    (folder / "image").write_bytes(data)
    entry = VmImageEntry(name="host", file=Location(path="image"), sha256=sha256)
    return vmimages.resolve(entry, "1.0.0", Inputs(folder, {}, folder))


@pytest.mark.parametrize(
    ("data", "kind", "size"),
    [
        (qcow(), "qcow2", 3 << 30),
        (iso(), "iso", len(iso())),
        (raw(), "raw", len(raw())),
        (appliance(), "ova", 20 << 30),
    ],
    ids=["qcow2", "iso", "raw", "ova"],
)
def test_an_image_is_told_by_its_content_and_bears_both_digests(
    tmp_path: Path, data: bytes, kind: str, size: int
) -> None:
    artifact = resolved(tmp_path, data)
    origin = artifact.root.origin
    annotations = strictjson.loads(getattr(origin, "text", "").encode())["annotations"]
    assert annotations["dev.dryport.vmimage.format"] == kind
    assert annotations["dev.dryport.vmimage.size"] == str(size)
    assert annotations["dev.dryport.vmimage.sha512"] == hashlib.sha512(data).hexdigest()
    assert artifact.blobs[1].digest.matches(data)
    assert artifact.blobs[1].media_type.endswith(f".{kind}")


def test_an_appliance_tells_guest_and_hardware() -> None:
    assert ova.look(io.BytesIO(appliance())) == (20 << 30, {"guest": "debian12_64Guest", "hardware": "vmx-19"})


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"just a text", "known"),
        (b"", "known"),
        (qcow(backing=100), "backing"),
        (qcow(version=1), "version"),
        (appliance(stated="0" * 64), "manifest"),
        (archive(("a.vmdk", b"x"), ("a.ovf", OVF.encode())), "first file"),
        (archive(("a.ovf", OVF.encode()), ("b.ovf", OVF.encode())), "first file"),
        (archive(("a.ovf", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>")), "entities"),
        (archive(("a.ovf", b"no xml")), "XML"),
        (appliance()[:900], ""),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_cause(tmp_path: Path, data: bytes, word: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        resolved(tmp_path, data)
    assert caught.value.reference == "vmimage-invalid"
    assert word in caught.value.seen


def test_another_image_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        resolved(tmp_path, raw(), sha256="0" * 64)
    assert caught.value.reference == "checksum-mismatch"


@given(st.binary(max_size=3000), st.sampled_from([b"", qcow()[:100], appliance()[:1200], iso()[:32780], b"x.ovf\0"]))
def test_no_bytes_make_the_look_fail_by_another_way_than_its_own(data: bytes, before: bytes) -> None:
    whole = before + data
    with suppress(ValueError, tarfile.TarError, EOFError):
        vmimages.look(io.BytesIO(whole), len(whole))
