"""A bundle for two architectures: locked, built, verified, mirrored, and complete for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bundles.archive.reader import read_head
from bundles.archive.writer import build, sign_in_place
from bundles.sources import resolve
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from bundles.trust.roles import Statement, sign_release
from bundles.verify import verify
from registry.errors import DefinitionError
from registry.mirror.copy import copy
from registry.mirror.target import StoreTarget
from registry.oci.manifest import Manifest
from registry.packs.helm import Helm
from registry.progress import Silent
from registry.store.store import Store
from tests.attacks.publisher import Publisher
from tests.mirror_samples import image, index, noise, refer
from tests.source_registry import HOST, Origin, registry_of_images
from tests.unit.test_closure import SIDE, WEB, write_pack

BOTH = ["linux/amd64", "linux/arm64"]
PUBLISHER = Publisher(product="two")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    with registry_of_images(tmp_path_factory.mktemp("origin")) as found:
        for name, tag in (("web", "1.0"), ("side", "2.1")):
            digest = index(found.store, f"{HOST}/team/{name}", 2, [noise(name, 90_000)], tag)
            refer(found.store, f"{HOST}/team/{name}", digest, f"signature of {name}")
        image(found.store, f"{HOST}/team/single", "single", [b"amd64 alone"], ["1"])
        yield found


def definition(folder: Path, *more: str) -> Path:
    path = folder / "bundle.yaml"
    listed = "".join(f"\n  - image: {one}" for one in more)
    path.write_text(
        "apiVersion: dryport/v1\nkind: Bundle\nproduct: two\nversion: 1.0.0\n"
        f"platforms: [{', '.join(BOTH)}]\npacks: [{{folder: {{path: pack}}, carry: true}}]\n"
        + (f"images:{listed}\n" if more else "")
    )
    return path


@pytest.fixture
def inputs(tmp_path: Path, origin: Origin, helm: Helm) -> Inputs:
    write_pack(tmp_path / "pack", declared=[WEB])
    return Inputs(tmp_path, {}, tmp_path, origin.registries(), helm=helm, is_static=False)


def test_both_architectures_of_every_image_arrive_with_their_digests(
    tmp_path: Path, inputs: Inputs, origin: Origin
) -> None:
    found = resolve.resolve(definition(tmp_path), inputs, Silent())
    assert [one.ref for one in found.lock.artifacts if one.kind == "image"] == [SIDE, WEB]
    path = tmp_path / "two.tar"
    build(found.lock, path, Fetcher(inputs), Silent())
    now = datetime.now(UTC).replace(microsecond=0)
    with read_head(path) as head:
        statement = Statement("two", "1.0.0", 1, tuple(BOTH), now, now + timedelta(days=9))
        files = sign_release(head.index, statement, PUBLISHER.roots, PUBLISHER.release)
    sign_in_place(path, files)
    with closing(verify(path, PUBLISHER.begin(), now=now)) as verified, Store.open(tmp_path / "store") as store:
        verified.check_all(Silent())
        assert set(verified.release.platforms) == set(BOTH)
        copy(verified.content(), StoreTarget(store), Silent())
        for name, tag in (("web", "1.0"), ("side", "2.1")):
            repository = f"{HOST}/team/{name}"
            there, here = origin.store.resolve(repository, tag), store.resolve(repository, tag)
            assert there
            assert here
            assert here.digest == there.digest
            whole = Manifest.parse(*(store.manifest(repository, here.digest) or (b"", "")))
            assert {(child.platform or {})["architecture"] for child in whole.children} == {"amd64", "arm64"}
            for child in whole.children:
                manifest = Manifest.parse(*(store.manifest(repository, child.digest) or (b"", "")))
                assert all(store.blob(repository, blob.digest) for blob in manifest.blobs)
            assert len(store.referrers(repository, here.digest)) == 1


def test_an_image_that_is_there_for_one_alone_is_named(tmp_path: Path, inputs: Inputs) -> None:
    with pytest.raises(DefinitionError) as caught:
        resolve.lock(definition(tmp_path, f"{HOST}/team/single:1"), inputs, Silent())
    assert caught.value.reference == "image-platform-missing"
    assert "linux/arm64" in caught.value.message
