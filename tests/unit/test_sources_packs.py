from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundles.definition import Definition, Location, PackEntry
from bundles.lock import Inline, LockedArtifact
from bundles.sources import folders
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError
from registry.oci.manifest import TITLE, Manifest
from registry.oci.targz import folder_archive
from registry.packs.reading import read_folder

QUICKSTART = Path(__file__).parents[2] / "bundles/definitions/quickstart"
WEB = "registry.example.org/quickstart/web:1.0"


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    top = tmp_path / "pack"
    top.mkdir()
    metadata = {"name": "web", "displayName": "Web", "version": "1.0.0+b1", "layer": "addon"}
    (top / "pack.json").write_text(json.dumps(metadata))
    (top / "values.yaml").write_text(f"pack:\n  content:\n    images:\n      - image: {WEB}\n")
    return top


def resolved(pack: Path) -> LockedArtifact:
    entry = PackEntry(folder=Location(path=pack.name))
    return folders.resolve_pack(entry, Inputs(pack.parent, {}, pack.parent))


def test_a_pack_becomes_the_artifact_that_palette_scans_for(pack: Path) -> None:
    artifact = resolved(pack)
    assert artifact.ref == "spectro-packs/archive/web:1.0.0_b1"
    assert isinstance(artifact.root.origin, Inline)
    manifest = Manifest.parse(artifact.root.origin.text.encode(), artifact.root.media_type)
    config, layer = manifest.blobs
    assert config.media_type == "application/vnd.unknown.config.v1+json"
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert layer.annotations == {TITLE: "web-1.0.0+b1.tar.gz"}


def test_a_file_that_pack_json_lists_and_is_not_there_is_named(pack: Path) -> None:
    metadata = json.loads((pack / "pack.json").read_bytes()) | {"charts": ["charts/web-1.0.0.tgz"]}
    (pack / "pack.json").write_text(json.dumps(metadata))
    with pytest.raises(DefinitionError) as caught:
        resolved(pack)
    assert caught.value.reference == "pack-file-missing"
    assert "charts/web-1.0.0.tgz" in caught.value.message


@pytest.mark.parametrize("folder", sorted((QUICKSTART / "packs").iterdir()), ids=lambda path: path.name)
def test_the_quickstarts_packs_are_whole_and_use_its_images_alone(folder: Path) -> None:
    pack = read_folder(folder)
    assert pack.notes == ()
    carried = {entry.image for entry in Definition.read(QUICKSTART / "bundle.yaml").images}
    assert {image.reference for image in pack.images} <= carried
    assert pack.images
    assert pack.metadata.title == f"{folder.name}-1.0.0"
    assert (folder / "logo.png").read_bytes().startswith(b"\x89PNG")


def test_every_image_that_the_quickstarts_manifests_and_charts_name_is_declared() -> None:
    for folder in (QUICKSTART / "packs").iterdir():
        declared = {image.reference for image in read_folder(folder).images}
        named = [
            line.partition("image:")[2].strip()
            for path in (folder / "manifests").glob("*.yaml")
            for line in path.read_text().splitlines()
            if "image:" in line
        ]
        assert set(named) <= declared


def test_the_clocks_chart_archive_is_made_from_the_chart_beside_it() -> None:
    charts = QUICKSTART / "packs/quickstart-clock/charts"
    made = b"".join(folder_archive(charts / "clock", "clock"))
    assert (charts / "clock-1.0.0.tgz").read_bytes() == made, "make it again as the pack's README says"
