"""OCI layouts in a tar: the same lock as from the folder, read in place, and nothing believed but digests."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles.archive.writer import build
from bundles.definition import ImageEntry, Location
from bundles.lock import Lock, LockedArtifact
from bundles.sources import images
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError
from registry.progress import Silent
from tests.lab.demo_images import REF_NAME, File, Layout

WEB = "registry.example.org/quickstart/web:1.0"
ENTRY = ImageEntry(image=WEB, layout=Location(input="images"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    layout = Layout(tmp_path / "layout")
    layout.add_image(WEB, [{"bin/sh": File(b"shell" * 1000, 0o755)}], {"Cmd": ["sh"]})
    layout.close()
    return layout.folder


def packed(folder: Path, prefix: str = "") -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as tar:
        for one in sorted(folder.rglob("*")):
            tar.add(one, f"{prefix}{one.relative_to(folder)}", recursive=False)
    return path


def reading(at: Path) -> Inputs:
    return Inputs(at.parent, {"images": at}, at.parent)


def resolved(at: Path) -> LockedArtifact:
    return images.resolve(ENTRY, ["linux/amd64"], reading(at))[0]


def refusal(at: Path) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        resolved(at)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_tar_gives_the_same_lock_as_its_folder(folder: Path, prefix: str) -> None:
    assert resolved(packed(folder, prefix)) == resolved(folder)


def test_blobs_of_a_tar_can_be_taken_from_any_byte_on(folder: Path) -> None:
    artifact, fetch = resolved(folder), Fetcher(reading(packed(folder)))
    for blob in (artifact.root, *artifact.manifests, *artifact.blobs):
        whole = (folder / "blobs/sha256" / blob.digest.hex).read_bytes()
        for start in (0, 1, blob.size // 2, blob.size):
            with fetch(blob, start) as blocks:
                assert b"".join(blocks) == whole[start:]


def test_an_image_named_as_docker_save_names_it_is_found(folder: Path) -> None:
    path = folder / "index.json"
    index = json.loads(path.read_bytes())
    index["manifests"][0]["annotations"] = {REF_NAME: "1.0", "io.containerd.image.name": WEB}
    path.write_text(json.dumps(index))
    assert resolved(packed(folder)).ref == WEB


def test_a_compressed_tar_is_refused_with_what_to_do(folder: Path) -> None:
    path = packed(folder)
    path.write_bytes(gzip.compress(path.read_bytes()))
    error = refusal(path)
    assert error.reference == "layout-invalid"
    assert "gunzip" in error.hint


def test_an_archive_of_dockers_older_kind_is_told_how_to_become_a_layout(folder: Path) -> None:
    path = folder.with_name("old.tar")
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"[]"))
    error = refusal(path)
    assert "older kind" in error.message
    assert "skopeo copy docker-archive:" in error.hint


def test_a_tar_that_was_cut_off_is_refused(folder: Path) -> None:
    path = packed(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    assert refusal(path).reference in {"layout-invalid", "layout-damaged", "image-missing"}


def test_a_link_in_a_tar_is_no_blob(folder: Path) -> None:
    artifact = resolved(folder)
    blob = folder / "blobs/sha256" / artifact.blobs[-1].digest.hex
    outside = folder.with_name("outside")
    blob.rename(outside)
    blob.symlink_to(outside)
    assert refusal(packed(folder)).reference == "layout-damaged"


def test_a_tar_that_changed_after_the_lock_never_makes_a_bundle(folder: Path, tmp_path: Path) -> None:
    path = packed(folder)
    artifact = resolved(path)
    layer = (folder / "blobs/sha256" / artifact.blobs[-1].digest.hex).read_bytes()
    path.write_bytes(path.read_bytes().replace(layer, layer[:-1] + b"!"))
    lock = Lock(product="x", version="1.0.0", platforms=["linux/amd64"], definition="d", artifacts=[artifact])
    with pytest.raises(DefinitionError) as caught:
        build(lock, tmp_path / "b.tar", Fetcher(reading(path)), Silent())
    assert caught.value.reference == "source-changed"
    assert not (tmp_path / "b.tar").exists()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_tar_is_refused_or_changes_nothing(folder: Path, data: st.DataObject) -> None:
    path = packed(folder)
    honest, whole = resolved(path), bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    with suppress(DefinitionError):
        assert resolved(path) == honest
