"""Names and digests at their edges (distribution-spec "Pulling manifests", image-spec "Digests")."""

from __future__ import annotations

import pytest

from registry.oci.digest import Digest
from tests.contracts.conftest import Wire, code
from tests.oci_samples import image

LONGEST = "/".join(["n" * 63] * 3 + ["n" * 61, "n"])  # 255 bytes


@pytest.mark.parametrize(
    "name", ["a", "0", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c/d", "a.b_c__d-e/f0", LONGEST], ids=str
)
def test_a_name_of_the_grammar_is_a_repository(wire: Wire, name: str) -> None:
    digest = wire.push_blob(name, name.encode())
    assert wire.ask("GET", f"/v2/{name}/blobs/{digest}").data == name.encode()


@pytest.mark.parametrize(
    "name",
    ["a..b", "a___b", "a.-b", ".a", "_a", "a_", "a-", "a.", "/a", "a//b", "Aa", "a+b", "ä", f"{LONGEST}n"],
    ids=str,
)
def test_a_name_outside_the_grammar_or_longer_than_255_bytes_is_refused(wire: Wire, name: str) -> None:
    assert code(wire.ask("GET", f"/v2/{name}/tags/list")) == (400, "NAME_INVALID")
    assert code(wire.ask("POST", f"/v2/{name}/blobs/uploads/")) == (400, "NAME_INVALID")


@pytest.mark.parametrize("tag", ["a", "_", "A.b-c_1", "0", "v1.0-rc.1", "x" * 128], ids=str)
def test_a_tag_of_the_grammar_is_kept_as_it_is(wire: Wire, name: str, tag: str) -> None:
    digest = wire.push_image(name, image(), tag)
    assert wire.ask("HEAD", f"/v2/{name}/manifests/{tag}").headers["Docker-Content-Digest"] == str(digest)


@pytest.mark.parametrize("tag", [".a", "-a", "a+b", "a%20b", "ä", "x" * 129], ids=str)
def test_a_tag_outside_the_grammar_is_refused(wire: Wire, name: str, tag: str) -> None:
    wire.push_image(name, image(), "1")
    assert code(wire.push_manifest(name, image().manifest, tag)) == (400, "MANIFEST_INVALID")
    digest = Digest.of(image().manifest)
    assert code(wire.push_manifest(name, image().manifest, f"{digest}?tag={tag}")) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize(
    "digest",
    [f"sha256:{'a' * 63}", f"sha256:{'a' * 65}", f"sha256:{'A' * 64}", f"sha512:{'a' * 64}", f"sha256:{'a' * 128}",
     f"blake3:{'a' * 64}", f"sha256+b64u:{'a' * 64}", f"md5:{'a' * 32}", "sha256:", "sha256", f"SHA256:{'a' * 64}",
     f"sha256:{'g' * 64}", f"sha256:..%2f{'a' * 59}"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["blobs/{}", "manifests/{}", "referrers/{}", "blobs/uploads/?digest={}"])
def test_what_is_no_digest_of_a_known_algorithm_is_refused(wire: Wire, name: str, place: str, digest: str) -> None:
    if place == "manifests/{}" and ":" not in digest:
        digest += ":"  # without a colon it is a tag
    method = "POST" if "uploads" in place else "GET"
    assert code(wire.ask(method, f"/v2/{name}/{place.format(digest)}")) == (400, "DIGEST_INVALID")


def test_one_content_is_addressed_by_either_algorithm_and_answers_with_the_one_that_was_used(
    wire: Wire, name: str
) -> None:
    data = b"the same bytes twice"
    for algorithm in ("sha256", "sha512"):
        digest = Digest.of(data, algorithm)
        assert wire.ask("HEAD", f"/v2/{name}/blobs/{digest}").status == 404  # not before its bytes proved it
        assert wire.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data).status == 201
    for method in ("GET", "HEAD"):
        for algorithm in ("sha256", "sha512"):
            answer = wire.ask(method, f"/v2/{name}/blobs/{Digest.of(data, algorithm)}")
            assert answer.headers["Docker-Content-Digest"] == str(Digest.of(data, algorithm))
