"""The distribution API's lists: tags (end-8), referrers (end-12) and the catalogue."""

from __future__ import annotations

import pytest

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from tests.contracts.conftest import Wire, body, code
from tests.oci_samples import descriptor, image

TAGS = ["1.0", "Z", "a", "b", "latest"]


def tagged(wire: Wire, name: str) -> None:
    wire.push_image(name, image(), TAGS[0])
    for tag in reversed(TAGS):
        wire.push_manifest(name, image().manifest, tag)


def follow(wire: Wire, path: str, key: str) -> list[list[str]]:
    pages = []
    while path:
        answer = wire.ask("GET", path)
        pages.append(body(answer)[key])
        link = answer.headers.get("Link", "")
        path = link[1 : link.index(">")] if link else ""
    return pages


def test_end_8a_tags_are_sorted(wire: Wire, name: str) -> None:
    tagged(wire, name)
    assert body(wire.ask("GET", f"/v2/{name}/tags/list")) == {"name": name, "tags": TAGS}


def test_end_8b_pages_follow_each_other_without_gaps(wire: Wire, name: str) -> None:
    tagged(wire, name)
    assert follow(wire, f"/v2/{name}/tags/list?n=2", "tags") == [["1.0", "Z"], ["a", "b"], ["latest"]]


def test_end_8b_last_is_exclusive_and_need_not_exist(wire: Wire, name: str) -> None:
    tagged(wire, name)
    for last, expected in (("a", ["b", "latest"]), ("aa", ["b", "latest"]), ("z", []), ("", TAGS)):
        assert body(wire.ask("GET", f"/v2/{name}/tags/list?last={last}"))["tags"] == expected


def test_end_8b_no_tags_asked_none_given(wire: Wire, name: str) -> None:
    tagged(wire, name)
    answer = wire.ask("GET", f"/v2/{name}/tags/list?n=0")
    assert body(answer)["tags"] == []
    assert "Link" not in answer.headers


@pytest.mark.parametrize("number", ["-1", "a", "1e400", "0x1", "%D9%A3", "1.5"])
@pytest.mark.parametrize("path", ["/v2/{}/tags/list", "/v2/_catalog"])
def test_a_page_size_that_is_no_number_is_refused(wire: Wire, name: str, path: str, number: str) -> None:
    tagged(wire, name)
    assert wire.ask("GET", f"{path.format(name)}?n={number}").status == 400


@pytest.mark.parametrize("number", [2**31, 2**63, 10**300])
def test_a_huge_page_size_is_clamped(wire: Wire, name: str, number: int) -> None:
    tagged(wire, name)
    assert body(wire.ask("GET", f"/v2/{name}/tags/list?n={number}"))["tags"] == TAGS


def test_a_repository_without_tags_has_an_empty_list_and_an_unknown_one_none(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"no tag")
    assert body(wire.ask("GET", f"/v2/{name}/tags/list"))["tags"] == []
    assert code(wire.ask("GET", f"/v2/{name}-unknown/tags/list")) == (404, "NAME_UNKNOWN")


def refer(wire: Wire, name: str, subject: bytes, kind: str) -> Digest:
    wire.push_blob(name, b"{}")
    data = strictjson.canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": kind,
            "config": descriptor(b"{}", OCI_EMPTY).as_json(),
            "layers": [],
            "subject": descriptor(subject, OCI_MANIFEST).as_json(),
            "annotations": {"kind": kind},
        }
    )
    answer = wire.push_manifest(name, data, str(Digest.of(data)))
    assert answer.headers["OCI-Subject"] == str(Digest.of(subject))
    return Digest.of(data)


def test_end_12_referrers_are_listed_untagged_and_filtered(wire: Wire, name: str) -> None:
    subject = image().manifest
    signature, sbom = refer(wire, name, subject, "a/signature"), refer(wire, name, subject, "a/sbom")
    answer = wire.ask("GET", f"/v2/{name}/referrers/{Digest.of(subject)}")
    found = {item["digest"]: item for item in body(answer)["manifests"]}
    assert set(found) == {str(signature), str(sbom)}
    assert found[str(sbom)]["artifactType"] == "a/sbom"
    assert found[str(sbom)]["annotations"] == {"kind": "a/sbom"}
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert "OCI-Filters-Applied" not in answer.headers
    filtered = wire.ask("GET", f"/v2/{name}/referrers/{Digest.of(subject)}?artifactType=a/sbom")
    assert [item["digest"] for item in body(filtered)["manifests"]] == [str(sbom)]
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"


def test_end_12_a_deleted_referrer_is_gone_at_once_and_a_deleted_subject_keeps_them(wire: Wire, name: str) -> None:
    subject = wire.push_image(name, image(), "1")
    one, two = refer(wire, name, image().manifest, "a/one"), refer(wire, name, image().manifest, "a/two")
    assert wire.ask("DELETE", f"/v2/{name}/manifests/{one}").status == 202
    assert wire.ask("DELETE", f"/v2/{name}/manifests/{subject}").status == 202
    found = body(wire.ask("GET", f"/v2/{name}/referrers/{subject}"))["manifests"]
    assert [item["digest"] for item in found] == [str(two)]


def test_end_12_nobody_refers_to_what_was_never_seen(wire: Wire, name: str) -> None:
    answer = wire.ask("GET", f"/v2/{name}-never/referrers/{Digest.of(b'x')}")
    assert body(answer)["manifests"] == []
    assert code(wire.ask("GET", f"/v2/{name}/referrers/sha256:x")) == (400, "DIGEST_INVALID")


def test_the_catalogue_shows_what_the_caller_may_pull(wire: Wire) -> None:
    for name in ("shared/seen", "private/unseen"):
        wire.push_blob(name, b"{}")
    everything = [name for page in follow(wire, "/v2/_catalog?n=3", "repositories") for name in page]
    assert everything == sorted(set(everything))
    assert {"shared/seen", "private/unseen"} <= set(everything)
    readers = body(wire.as_user("reader").ask("GET", "/v2/_catalog"))["repositories"]
    assert "shared/seen" in readers
    assert all(name.startswith("shared/") for name in readers)
    assert body(wire.as_user("nothing").ask("GET", "/v2/_catalog"))["repositories"] == []
