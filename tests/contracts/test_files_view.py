"""`/files/`: layers by their title, for apt and curl, under the same grants as pulls."""

from __future__ import annotations

import pytest

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_EMPTY, TITLE, artifact
from tests.contracts.conftest import Wire, code
from tests.oci_samples import descriptor

RELEASE = "dists/dryport/InRelease"
PACKAGE = "pool/g++_4%3a12.2.0-3~a+b_amd64.deb"
TITLES = {RELEASE: b"signed\n", "pool/g++_4:12.2.0-3~a+b_amd64.deb": b"package " * 100}


def push(wire: Wire, name: str, tag: str, titles: dict[str, bytes] = TITLES) -> Digest:
    layers = []
    for title, data in titles.items():
        wire.push_blob(name, data)
        item = descriptor(data)
        layers.append(type(item)(item.media_type, item.digest, item.size, {TITLE: title}))
    wire.push_blob(name, b"{}")
    config = descriptor(b"{}", OCI_EMPTY)
    data = artifact("application/vnd.dryport.apt.v1", layers, config=config)
    assert wire.push_manifest(name, data, tag).status == 201
    return Digest.of(data)


def test_a_layer_is_found_by_its_title_under_tag_and_digest(wire: Wire, name: str) -> None:
    digest = push(wire, name, "1.0-site")
    for reference in ("1.0-site", str(digest)):
        answer = wire.ask("GET", f"/files/{name}/{reference}/{RELEASE}")
        assert (answer.status, answer.data) == (200, TITLES[RELEASE])
        assert answer.headers["ETag"] == f'"{Digest.of(TITLES[RELEASE])}"'
    head = wire.ask("HEAD", f"/files/{name}/1.0-site/{RELEASE}")
    assert (head.headers["Content-Length"], head.data) == (str(len(TITLES[RELEASE])), b"")


def test_names_may_be_percent_encoded_as_apt_does(wire: Wire, name: str) -> None:
    push(wire, name, "1")
    data = TITLES["pool/g++_4:12.2.0-3~a+b_amd64.deb"]
    for path in (PACKAGE, PACKAGE.replace("+", "%2b").replace("~", "%7e"), PACKAGE.replace("%3a", ":")):
        assert wire.ask("GET", f"/files/{name}/1/{path}").data == data


def test_a_download_is_resumed_by_range(wire: Wire, name: str) -> None:
    push(wire, name, "1")
    answer = wire.ask("GET", f"/files/{name}/1/{PACKAGE}", Range="bytes=795-")
    assert (answer.status, answer.data) == (206, b"kage ")


def test_the_repository_ends_where_a_reference_and_a_title_fit(wire: Wire, name: str) -> None:
    push(wire, name, "x", {"x/y/z": b"short name"})
    push(wire, f"{name}/x", "y", {"z": b"other title"})
    push(wire, f"{name}/x", "x", {"y/z": b"long name"})
    assert wire.ask("GET", f"/files/{name}/x/x/y/z").data == b"short name"
    assert wire.ask("GET", f"/files/{name}/x/y/z").data == b"other title"


@pytest.mark.parametrize(
    "path",
    ["1/never", "2/" + RELEASE, "1/", "1", "", "1/dists", "1/dists%2fdryport%2fInRelease",
     "1/%00", "1/%ff", "1/" + "a/" * 100, f"sha256:{'0' * 64}/{RELEASE}"],
)  # fmt: skip
def test_what_no_artifact_has_is_not_there(wire: Wire, name: str, path: str) -> None:
    push(wire, name, "1")
    assert code(wire.ask("GET", f"/files/{name}/{path}")) == (404, "BLOB_UNKNOWN")


def test_the_grants_are_those_of_a_pull(wire: Wire) -> None:
    push(wire, "shared/apt", "1")
    push(wire, "closed/apt", "1")
    reader = wire.as_user("reader")
    assert reader.ask("GET", f"/files/shared/apt/1/{RELEASE}").status == 200
    there, missing = (reader.ask("GET", f"/files/closed/{name}/1/{RELEASE}") for name in ("apt", "none"))
    assert code(there) == (403, "DENIED")
    assert (there.status, there.data) == (missing.status, missing.data)
    assert code(wire.as_user(None).ask("GET", f"/files/shared/apt/1/{RELEASE}")) == (401, "UNAUTHORIZED")
