"""An OCI layout as a place to copy from and to: its own, and those of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.errors import MediaError, SiteError
from registry.mirror.copy import copy
from registry.mirror.layout import Layout, LayoutTarget, filled
from registry.mirror.target import StoreTarget
from registry.oci.digest import Digest
from registry.progress import Silent
from registry.store import durable
from registry.store.store import Store
from tests.mirror_samples import fill, seen
from tests.oci_samples import image

REPOSITORIES = {f"team/app{number}": f"team/app{number}" for number in range(4)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield fill(opened, count=12, size=3000)


def test_what_went_into_a_layout_comes_out_of_it(store: Store, tmp_path: Path) -> None:
    expected = seen(store, REPOSITORIES)
    with filled(tmp_path / "layout") as target:
        first = copy(store, target, Silent())
        assert copy(store, target, Silent()).copied == 0
    assert first.bytes_copied > 0
    assert seen(Layout(tmp_path / "layout"), REPOSITORIES) == expected
    with Store.open(tmp_path / "back") as back:
        copy(Layout(tmp_path / "layout"), StoreTarget(back), Silent())
        assert seen(back, REPOSITORIES) == expected


def test_the_same_content_gives_the_same_index_whatever_came_first(store: Store, tmp_path: Path) -> None:
    for name, order in (("a", [*REPOSITORIES]), ("b", [*reversed(REPOSITORIES)])):
        for repository in order:
            with filled(tmp_path / name) as target:
                from registry.mirror.selection import Selection  # noqa: PLC0415

                copy(store, target, Silent(), selection=Selection.of([repository]))
    assert (tmp_path / "a/index.json").read_bytes() == (tmp_path / "b/index.json").read_bytes()


def test_a_layout_of_another_tool_is_read_by_its_tags(tmp_path: Path) -> None:
    sample = image()
    layout = Layout(sample.write_layout(tmp_path / "web", "1.0"))
    assert list(layout.repositories()) == ["web"]
    named = layout.resolve("web", "1.0")
    assert named
    assert layout.manifest("web", named.digest) == (sample.manifest, named.media_type)


def test_a_full_reference_becomes_a_place(tmp_path: Path) -> None:
    layout = Layout(image().write_layout(tmp_path / "x", "registry.example.org:5000/team/web:1.0"))
    assert list(layout.repositories()) == ["registry.example.org_5000/team/web"]
    assert list(layout.tags("registry.example.org_5000/team/web")) == ["1.0"]


def test_a_changed_byte_is_never_taken_for_the_manifest(tmp_path: Path) -> None:
    sample = image()
    folder = sample.write_layout(tmp_path / "web", "1.0")
    place = folder / "blobs/sha256" / Digest.of(sample.manifest).hex
    place.write_bytes(sample.manifest.replace(b"2", b"3", 1))
    with pytest.raises(MediaError) as caught:
        Layout(folder).manifest("web", Digest.of(sample.manifest))
    assert caught.value.reference == "content-differs"


def test_a_damaged_blob_is_told_and_leaves_nothing_under_its_name(store: Store, tmp_path: Path) -> None:
    class Damaged(Store):
        def blob(self, repository: str, digest: Digest):  # type: ignore[no-untyped-def]  # noqa: ANN202
            content = super().blob(repository, digest)
            if content and content.size == 9000:
                content.read = lambda offset, length: b"\0" * min(length, 9000 - offset)  # type: ignore[method-assign]
            return content

    store.close()
    with Damaged.open(tmp_path / "store") as origin, filled(tmp_path / "layout") as target:
        with pytest.raises(MediaError) as caught:
            copy(origin, target, Silent())
        assert {one.reference for one in caught.value.findings} == {"content-differs"}
    for path in (tmp_path / "layout/blobs/sha256").iterdir():
        assert Digest.of(path.read_bytes()).hex == path.name


def test_a_blob_goes_on_where_it_was_cut_and_a_wrong_beginning_is_thrown_away(store: Store, tmp_path: Path) -> None:
    largest = max((path for path in (store.folder / "blobs/sha256").iterdir()), key=lambda path: path.stat().st_size)
    data = largest.read_bytes()
    for beginning, most in ((data[:5000], len(data) - 5000), (b"wrong" * 1000, len(data))):
        folder = tmp_path / str(most)
        with filled(folder) as target:
            part = folder / "blobs/sha256" / f"{durable.TEMPORARY}{largest.name}"
            part.write_bytes(beginning)
            everything = copy(store, target, Silent()).bytes_copied
            total = sum(path.stat().st_size for path in (folder / "blobs/sha256").iterdir())
            assert everything <= total - len(data) + most
        assert (folder / "blobs/sha256" / largest.name).read_bytes() == data


def test_two_copies_into_one_layout_exclude_each_other(tmp_path: Path) -> None:
    with filled(tmp_path / "layout"), pytest.raises(SiteError) as caught:
        LayoutTarget(tmp_path / "layout")
    assert caught.value.reference == "layout-in-use"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"schemaVersion":2,"manifests":[{"digest":"sha256:../x"}]}'])
def test_a_folder_that_is_no_layout_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "index.json").write_bytes(data)
    with pytest.raises(MediaError) as caught:
        Layout(tmp_path)
    assert caught.value.reference == "layout-invalid"
    with pytest.raises(MediaError) as caught:
        Layout(tmp_path / "nowhere")
    assert caught.value.reference == "layout-missing"


def test_a_name_in_an_index_never_leads_out(tmp_path: Path) -> None:
    folder = image().write_layout(tmp_path / "web", "1.0")
    index = json.loads((folder / "index.json").read_text())
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "../../etc:1"}
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(MediaError):
        Layout(folder)
