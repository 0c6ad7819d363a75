from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundles.definition import ImageEntry, Location
from bundles.lock import LockedArtifact
from bundles.sources import images
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError
from registry.oci.manifest import Manifest
from tests.lab.demo_images import INDEX, REF_NAME, File, Layout, encoded

WEB, CLOCK = "registry.example.org/quickstart/web:1.0", "registry.example.org/quickstart/clock:1.0"
AMD64 = ["linux/amd64"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "layout")
    shared = {"bin/sh": File(b"shell" * 1000, 0o755)}
    layout.add_image(WEB, [shared, {"www/index.html": File(b"page")}], {"Cmd": ["httpd"]})
    layout.add_image(CLOCK, [shared, {"bin/clock": File(b"clock", 0o755)}], {"Cmd": ["clock"]})
    layout.close()
    return layout


def resolved(layout: Layout, image: str = WEB, platforms: list[str] | None = None) -> LockedArtifact:
    entry = ImageEntry(image=image, layout=Location(input="images"))
    inputs = Inputs(layout.folder.parent, {"images": layout.folder}, layout.folder.parent)
    return images.resolve(entry, platforms or AMD64, inputs)[0]


def refusal(layout: Layout, image: str = WEB, platforms: list[str] | None = None) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        resolved(layout, image, platforms)
    return caught.value


def blob(layout: Layout, digest: str) -> Path:
    return layout.folder / "blobs/sha256" / digest.removeprefix("sha256:")


def reindexed(layout: Layout, *children: dict[str, object]) -> None:
    """Give the web image an index of these children instead of its own."""
    body = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children)})
    layout.images[0] = layout.add(INDEX, body, annotations={REF_NAME: WEB})
    layout.close()


def child(layout: Layout) -> dict[str, object]:
    return json.loads(blob(layout, layout.images[0]["digest"]).read_bytes())["manifests"][0]


def test_an_images_root_is_the_index_as_it_was_made(layout: Layout) -> None:
    artifact = resolved(layout)
    assert str(artifact.root.digest) == layout.images[0]["digest"]
    assert artifact.ref == WEB
    assert (len(artifact.manifests), len(artifact.blobs)) == (1, 3)


def test_two_images_share_their_base_layer(layout: Layout) -> None:
    web, clock = ({one.digest for one in resolved(layout, image).blobs} for image in (WEB, CLOCK))
    assert len(web & clock) == 1


def test_a_missing_image_is_named_with_its_layout_and_what_there_is(layout: Layout) -> None:
    error = refusal(layout, "registry.example.org/quickstart/missing:1.0")
    assert error.reference == "image-missing"
    assert "quickstart/missing:1.0" in error.message
    assert "input images" in error.message
    assert error.seen == f"{CLOCK}, {WEB}"


def test_another_tag_of_the_same_image_is_another_image(layout: Layout) -> None:
    assert refusal(layout, WEB.replace(":1.0", ":1.1")).reference == "image-missing"


def test_a_folder_that_is_no_layout_is_refused(layout: Layout) -> None:
    (layout.folder / "index.json").unlink()
    assert refusal(layout).reference == "layout-invalid"


@pytest.mark.parametrize("which", ["config", "layer", "manifest"])
def test_a_blob_that_the_layout_lacks_is_named(layout: Layout, which: str) -> None:
    manifest = json.loads(blob(layout, str(child(layout)["digest"])).read_bytes())
    digests = {
        "config": manifest["config"]["digest"],
        "layer": manifest["layers"][1]["digest"],
        "manifest": child(layout)["digest"],
    }
    blob(layout, digests[which]).unlink()
    error = refusal(layout)
    assert error.reference == "layout-damaged"
    assert digests[which] in error.message


def test_a_manifest_with_other_bytes_than_its_digest_is_refused(layout: Layout) -> None:
    path = blob(layout, layout.images[0]["digest"])
    path.write_bytes(path.read_bytes().replace(b"amd64", b"arm64"))
    error = refusal(layout)
    assert error.reference == "layout-damaged"
    assert layout.images[0]["digest"] in error.message


def test_a_platform_that_the_image_lacks_is_refused(layout: Layout) -> None:
    error = refusal(layout, platforms=["linux/amd64", "linux/arm64"])
    assert error.reference == "image-platform-missing"
    assert error.message.endswith("linux/arm64")


def test_an_index_that_lies_about_a_childs_platform_is_found_out(layout: Layout) -> None:
    reindexed(layout, child(layout) | {"platform": {"os": "linux", "architecture": "arm64"}})
    error = refusal(layout, platforms=["linux/arm64"])
    assert error.reference == "image-platform-missing"


def test_children_for_other_platforms_stay_behind_and_the_index_stays_whole(layout: Layout) -> None:
    other = {"digest": f"sha256:{'0' * 64}", "size": 7, "mediaType": child(layout)["mediaType"]}
    reindexed(layout, child(layout), other | {"platform": {"os": "linux", "architecture": "s390x"}})
    artifact = resolved(layout)
    assert str(artifact.root.digest) == layout.images[0]["digest"]
    assert [str(one.digest) for one in artifact.manifests] == [child(layout)["digest"]]


def test_a_child_without_platform_travels_with_its_image(layout: Layout) -> None:
    attestation = json.loads(blob(layout, layout.images[1]["digest"]).read_bytes())["manifests"][0]
    reindexed(layout, child(layout), attestation | {"platform": {"os": "unknown", "architecture": "unknown"}})
    assert [str(one.digest) for one in resolved(layout).manifests] == [child(layout)["digest"], attestation["digest"]]


def test_an_image_of_one_platform_needs_no_index(layout: Layout) -> None:
    layout.images[0] = {**child(layout), "annotations": {REF_NAME: WEB}}
    layout.close()
    artifact = resolved(layout)
    assert artifact.manifests == []
    assert Manifest.parse(blob(layout, str(artifact.root.digest)).read_bytes(), artifact.root.media_type).blobs


def test_an_index_that_holds_itself_many_levels_deep_ends(layout: Layout) -> None:
    inner = child(layout)
    for _ in range(6):
        body = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner]})
        inner = layout.add(INDEX, body)
    layout.images[0] = inner | {"annotations": {REF_NAME: WEB}}
    layout.close()
    assert refusal(layout).reference == "layout-invalid"
