"""Images from registries: what refers to them comes along, tags count once, and nothing of this machine is locked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bundles.archive.artifacts import carried_artifacts
from bundles.archive.reader import Archive, read_head
from bundles.archive.writer import build
from bundles.lock import LockedArtifact
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from bundles.sources.registries import resolve
from bundles.sources.resolve import lock
from registry.errors import DefinitionError, RemoteError
from registry.oci.reference import Reference
from registry.progress import Silent
from tests.mirror_samples import image, index, noise, refer
from tests.source_registry import HOST, Origin, registry_of_images

APP = f"{HOST}/team/app"
BOTH = ["linux/amd64", "linux/arm64"]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    with registry_of_images(tmp_path_factory.mktemp("origin")) as found:
        yield found


def resolved(origin: Origin, reference: str, platforms: Sequence[str] = BOTH) -> list[LockedArtifact]:
    registries = origin.registries()
    try:
        return resolve(Reference.parse(reference), platforms, registries)
    finally:
        registries.close()


def test_signatures_of_an_image_and_signatures_on_them_come_along(origin: Origin) -> None:
    digest = index(origin.store, APP, 0, [noise("base", 9000)], "1.0")
    signature = refer(origin.store, APP, digest, "a signature")
    above = refer(origin.store, APP, signature, "a signature on the signature")
    companion = f"sha256-{digest.hex}.sig"
    image(origin.store, APP, "cosign", [noise("cosign", 200)], [companion])
    found = {one.ref: one for one in resolved(origin, f"{APP}:1.0")}
    assert set(found) == {f"{APP}:1.0", f"{APP}@{signature}", f"{APP}@{above}", f"{APP}:{companion}"}
    assert found[f"{APP}:1.0"].root.digest == digest
    assert len(found[f"{APP}:1.0"].manifests) == 2
    assert [one.kind for one in found.values()].count("image") == 1


def test_a_platform_left_out_stays_named_and_absent(origin: Origin) -> None:
    digest = index(origin.store, f"{HOST}/team/one", 0, [noise("base", 9000)], "1.0")
    (one,) = resolved(origin, f"{HOST}/team/one:1.0", ["linux/arm64"])
    assert one.root.digest == digest
    assert len(one.manifests) == 1


@pytest.mark.parametrize(("image_name", "reference"), [("app:9.9", "image-missing"), ("nowhere:1", "image-missing")])
def test_an_image_that_is_not_there_is_the_definitions_fault(origin: Origin, image_name: str, reference: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        resolved(origin, f"{HOST}/team/{image_name}")
    assert caught.value.reference == reference
    assert image_name in caught.value.message


def test_a_platform_that_no_image_has_is_named(origin: Origin) -> None:
    image(origin.store, f"{HOST}/team/small", "small", [b"layer"], ["1.0"])
    with pytest.raises(DefinitionError) as caught:
        resolved(origin, f"{HOST}/team/small:1.0")
    assert (caught.value.reference, caught.value.seen) == ("image-platform-missing", "linux/amd64")


def test_an_image_by_digest_needs_no_tag(origin: Origin) -> None:
    digest = image(origin.store, f"{HOST}/team/bare", "bare", [b"bare"], [])
    (one,) = resolved(origin, f"{HOST}/team/bare@{digest}", ["linux/amd64"])
    assert (one.kind, one.ref, one.root.digest) == ("image", f"{HOST}/team/bare@{digest}", digest)


def inputs(folder: Path, origin: Origin) -> Inputs:
    (folder / "scratch").mkdir(exist_ok=True)
    return Inputs(folder, {}, folder / "scratch", origin.registries())


def definition(folder: Path, *names: str) -> Path:
    entries = "".join(f"  - image: {name}\n" for name in names)
    head = "apiVersion: dryport/v1\nkind: Bundle\nproduct: test\nversion: 1.0.0\nplatforms: [linux/amd64]\nimages:\n"
    path = folder / "bundle.yaml"
    path.write_text(head + entries)
    return path


def test_a_tag_that_moves_after_the_lock_changes_nothing(origin: Origin, tmp_path: Path) -> None:
    name = f"{HOST}/team/moving"
    first = image(origin.store, name, "first", [noise("first", 70_000)], ["1"])
    locked = lock(definition(tmp_path, f"{name}:1"), inputs(tmp_path, origin), Silent())
    image(origin.store, name, "second", [noise("second", 70_000)], ["1"])
    build(locked, tmp_path / "b.tar", Fetcher(inputs(tmp_path, origin)), Silent())
    with Archive(read_head(tmp_path / "b.tar")) as archive:
        assert {one.ref: one.root.digest for one in carried_artifacts(archive)}[f"{name}:1"] == first


def test_the_lock_holds_no_word_of_where_the_images_came_from(origin: Origin, tmp_path: Path) -> None:
    name = f"{HOST}/team/quiet"
    image(origin.store, name, "quiet", [noise("quiet", 70_000)], ["1"])
    text = lock(definition(tmp_path, f"{name}:1"), inputs(tmp_path, origin), Silent()).encode().decode()
    assert "127.0.0.1" not in text
    assert str(tmp_path) not in text


def test_two_tags_of_one_image_bring_its_signature_once(origin: Origin, tmp_path: Path) -> None:
    name = f"{HOST}/team/twice"
    digest = image(origin.store, name, "twice", [b"twice"], ["1", "latest"])
    signature = refer(origin.store, name, digest, "signed")
    locked = lock(definition(tmp_path, f"{name}:1", f"{name}:latest"), inputs(tmp_path, origin), Silent())
    assert [one.ref for one in locked.artifacts] == [f"{name}:1", f"{name}:latest", f"{name}@{signature}"]


def test_a_registry_that_does_not_answer_is_a_remote_error(origin: Origin, tmp_path: Path) -> None:
    registries = origin.registries()
    path = definition(tmp_path, f"{HOST}/team/twice:1")
    with registry_of_images(tmp_path / "gone") as gone:
        registries = gone.registries()
    with pytest.raises(RemoteError):
        lock(path, Inputs(tmp_path, {}, tmp_path, registries), Silent())
