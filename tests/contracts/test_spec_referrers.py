"""Referrers (end-12) at their edges: pages below what clients take, filters, indexes, and tags of the time before."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from tests.contracts.conftest import Wire, body, code
from tests.oci_samples import descriptor

SUBJECT = descriptor(b"never pushed", OCI_MANIFEST)
CONFIG = descriptor(b"{}", OCI_EMPTY).as_json()
FOUR_MIB = 4 << 20


def push(wire: Wire, name: str, media_type: str = OCI_MANIFEST, tag: str = "", **parts: object) -> Digest:
    """Push a manifest or index about the subject."""
    wire.push_blob(name, b"{}")
    content: dict[str, object] = {"manifests": []} if media_type == OCI_INDEX else {"config": CONFIG, "layers": []}
    value = {"schemaVersion": 2, "mediaType": media_type, "subject": SUBJECT.as_json()} | content | parts
    data = strictjson.canonical(value)
    answer = wire.push_manifest(name, data, tag or str(Digest.of(data)), media_type)
    assert (answer.status, answer.headers.get("OCI-Subject")) == (201, str(SUBJECT.digest)), answer.data
    return Digest.of(data)


def pages(wire: Wire, path: str) -> list[list[dict[str, object]]]:
    found, links = [], []
    while path:
        answer = wire.ask("GET", path)
        assert len(answer.data) <= FOUR_MIB
        found.append(body(answer)["manifests"])
        link = answer.headers.get("Link", "")
        path = link[1 : link.index(">")] if link else ""
        links.append(path)
    wanted = parse_qs(urlsplit(links[0]).query).get("artifactType")
    assert all(parse_qs(urlsplit(link).query).get("artifactType") == wanted for link in links if link)
    return found


def test_more_referrers_than_four_mebibytes_come_in_pages_that_keep_the_filter(wire: Wire, name: str) -> None:
    kinds = ["a/kept", "a/left"]
    pushed = {
        push(wire, name, artifactType=kinds[number % 5 == 0], annotations={"text": "x" * 900_000, "n": str(number)})
        for number in range(8)
    }
    base = f"/v2/{name}/referrers/{SUBJECT.digest}"
    found = pages(wire, base)
    assert len(found) == 2
    digests = [str(item["digest"]) for page in found for item in page]
    assert digests == sorted(map(str, pushed))
    kept = pages(wire, f"{base}?artifactType=a/kept")
    assert len(kept) == 2
    assert [item["artifactType"] for page in kept for item in page] == ["a/kept"] * 6


def test_referrers_can_be_asked_for_a_few_at_a_time(wire: Wire, name: str) -> None:
    for number in range(3):
        push(wire, name, annotations={"n": str(number)})
    base = f"/v2/{name}/referrers/{SUBJECT.digest}"
    assert [len(page) for page in pages(wire, f"{base}?n=2")] == [2, 1]
    assert [len(page) for page in pages(wire, f"{base}?n={2**63}")] == [3]
    assert pages(wire, f"{base}?n=0") == [[]]
    for bad in ("-1", "a", "1e400"):
        assert wire.ask("GET", f"{base}?n={bad}").status == 400


@pytest.mark.parametrize(
    ("media_type", "parts", "expected"),
    [
        (OCI_MANIFEST, {"artifactType": "a/b"}, "a/b"),
        (OCI_MANIFEST, {"config": CONFIG | {"mediaType": "config/type"}}, "config/type"),
        (OCI_MANIFEST, {"artifactType": ""}, OCI_EMPTY),
        (OCI_INDEX, {"artifactType": "a/index"}, "a/index"),
        (OCI_INDEX, {}, None),
    ],
)
def test_the_type_of_a_referrer_is_its_own_or_its_configs(
    wire: Wire, name: str, media_type: str, parts: dict[str, object], expected: str | None
) -> None:
    digest = push(wire, name, media_type, **parts)
    (item,) = body(wire.ask("GET", f"/v2/{name}/referrers/{SUBJECT.digest}"))["manifests"]
    assert (item["digest"], item["mediaType"], item.get("artifactType")) == (str(digest), media_type, expected)
    assert item["size"] == len(wire.ask("GET", f"/v2/{name}/manifests/{digest}").data)


def test_what_an_older_registry_kept_under_a_fallback_tag_is_listed_once_it_is_here(wire: Wire, name: str) -> None:
    digest = push(wire, name, artifactType="a/signature")
    stale = descriptor(b"no longer there", OCI_MANIFEST)
    one = {"mediaType": OCI_MANIFEST, "digest": str(digest), "size": 1}
    index = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [one, stale.as_json()]})
    fallback = f"{SUBJECT.digest.algorithm}-{SUBJECT.digest.hex}"
    assert wire.push_manifest(name, index, fallback, OCI_INDEX).status == 201
    listed = body(wire.ask("GET", f"/v2/{name}/referrers/{SUBJECT.digest}"))["manifests"]
    assert [item["digest"] for item in listed] == [str(digest)]
    assert wire.ask("GET", f"/v2/{name}/manifests/{fallback}").data == index  # old clients still read it


def test_a_subject_by_sha512_has_referrers_of_its_own(wire: Wire, name: str) -> None:
    subject = SUBJECT.as_json() | {"digest": str(Digest.of(b"never pushed", "sha512"))}
    wire.push_blob(name, b"{}")
    data = strictjson.canonical(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [], "subject": subject}
    )
    digest = Digest.of(data, "sha512")
    assert wire.push_manifest(name, data, str(digest)).headers["OCI-Subject"] == subject["digest"]
    (item,) = body(wire.ask("GET", f"/v2/{name}/referrers/{subject['digest']}"))["manifests"]
    assert item["digest"] == str(digest)
    assert body(wire.ask("GET", f"/v2/{name}/referrers/{SUBJECT.digest}"))["manifests"] == []


def test_referrers_of_another_repository_are_not_shown(wire: Wire, name: str) -> None:
    push(wire, name)
    assert body(wire.ask("GET", f"/v2/{name}-other/referrers/{SUBJECT.digest}"))["manifests"] == []


@pytest.mark.parametrize("digest", ["sha256:x", "latest", f"sha256:{'A' * 64}"])
def test_referrers_of_what_is_no_digest_are_refused(wire: Wire, name: str, digest: str) -> None:
    assert code(wire.ask("GET", f"/v2/{name}/referrers/{digest}")) == (400, "DIGEST_INVALID")
