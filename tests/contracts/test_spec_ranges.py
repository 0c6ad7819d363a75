"""Pulls of parts: several ranges in one answer as podman and skopeo ask for them, and what such headers cannot do."""

from __future__ import annotations

import email
import email.policy

import pytest
import urllib3

from registry.oci.digest import Digest
from tests.contracts.conftest import Wire

DATA = bytes(range(256)) * 8  # 2048 bytes


def ask(wire: Wire, name: str, ranges: str, data: bytes = DATA, **headers: str) -> urllib3.BaseHTTPResponse:
    return wire.ask("GET", f"/v2/{name}/blobs/{wire.push_blob(name, data)}", Range=ranges, **headers)


def parts(answer: urllib3.BaseHTTPResponse) -> list[tuple[str, bytes]]:
    """Return each part's Content-Range and bytes, read by a MIME parser of somebody else."""
    assert answer.status == 206
    assert "Content-Range" not in answer.headers
    assert answer.headers["Content-Length"] == str(len(answer.data))
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.data, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    found = list(message.iter_parts())  # type: ignore[attr-defined]
    assert all(part.get_content_type() == "application/octet-stream" for part in found)
    return [(part["Content-Range"], part.get_payload(decode=True)) for part in found]


def test_several_ranges_come_as_parts(wire: Wire, name: str) -> None:
    assert parts(ask(wire, name, "bytes=0-1, 10-19,-3")) == [
        ("bytes 0-1/2048", DATA[:2]),
        ("bytes 10-19/2048", DATA[10:20]),
        ("bytes 2045-2047/2048", DATA[-3:]),
    ]


def test_parts_of_a_blob_of_many_steps_are_whole(wire: Wire, name: str) -> None:
    data = bytes(range(251)) * (3 << 14)
    spans = [(5, 3 << 20), (4 << 20, (4 << 20) + 7), (9 << 20, 11 << 20)]
    asked = ",".join(f"{start}-{end - 1}" for start, end in spans)
    assert [payload for _, payload in parts(ask(wire, name, f"bytes={asked}", data))] == [data[a:b] for a, b in spans]


def test_as_many_ranges_as_podman_asks_for_are_answered_and_more_give_the_whole(wire: Wire, name: str) -> None:
    asked = [f"{2 * number}-{2 * number}" for number in range(1025)]
    assert len(parts(ask(wire, name, f"bytes={','.join(asked[:1024])}", DATA * 2))) == 1024
    assert ask(wire, name, f"bytes={','.join(asked)}", DATA * 2).status == 200


@pytest.mark.parametrize("asked", ["0-9,5-6", "0-,0-,0-", "10-19,0-5", "0-2047,-1", "0-1,2-x", "0-1,-"])
def test_ranges_that_overlap_or_descend_or_are_none_give_the_whole_once(wire: Wire, name: str, asked: str) -> None:
    answer = ask(wire, name, f"bytes={asked}")
    assert (answer.status, answer.data) == (200, DATA)


def test_a_range_outside_is_left_out_and_a_single_one_comes_plain(wire: Wire, name: str) -> None:
    answer = ask(wire, name, "bytes=4-7,5000-6000")
    assert (answer.status, answer.data) == (206, DATA[4:8])
    assert answer.headers["Content-Range"] == "bytes 4-7/2048"
    none = ask(wire, name, "bytes=5000-6000,7000-")
    assert (none.status, none.headers["Content-Range"]) == (416, "bytes */2048")


def test_a_head_of_a_range_tells_of_the_whole(wire: Wire, name: str) -> None:
    digest = wire.push_blob(name, DATA)
    head = wire.ask("HEAD", f"/v2/{name}/blobs/{digest}", Range="bytes=0-1,4-5")
    assert (head.status, head.headers["Content-Length"]) == (200, "2048")


def test_a_range_of_another_version_gives_the_whole(wire: Wire, name: str) -> None:
    assert ask(wire, name, "bytes=0-1", If_Range='"sha256:other"').data == DATA
    assert ask(wire, name, "bytes=0-1", If_Range=f'"{Digest.of(DATA)}"').data == DATA[:2]


def test_no_part_of_an_empty_blob_can_be_had(wire: Wire, name: str) -> None:
    answer = ask(wire, name, "bytes=0-", b"")
    assert (answer.status, answer.data) == (200, b"")


def test_a_blob_is_never_encoded_whatever_is_accepted(wire: Wire, name: str) -> None:
    answer = ask(wire, name, "bytes=0-", Accept_Encoding="zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")
    assert "Content-Encoding" not in answer.headers
    assert answer.data == DATA
