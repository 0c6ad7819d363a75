"""What every ContentSource keeps: the suite that each implementation's tests inherit.

An implementation gives a fixture `source` filled with `CONTENT`, and says which parts it cannot show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from registry.content import ContentSource
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Manifest
from tests.oci_samples import descriptor, image

REPOSITORY = "registry.example.org/team/app"
OTHER = "registry.example.org/team/other"
UNKNOWN = Digest.of(b"nobody has this")


@dataclass(frozen=True)
class Manifested:
    """A manifest with its media type and tags."""

    data: bytes
    media_type: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """Blobs and manifests by repository, in an order in which they can be stored."""

    blobs: dict[str, list[bytes]] = field(default_factory=dict)
    manifests: dict[str, list[Manifested]] = field(default_factory=dict)


APP = image(b"app\n" * 1000)
LARGE = bytes(range(256)) * (9 << 12)  # 9 MiB: several steps of every reader
SIGNATURE = strictjson.canonical(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": descriptor(b"{}", OCI_EMPTY).as_json(),
        "layers": [],
        "subject": descriptor(APP.manifest, OCI_MANIFEST).as_json(),
        "annotations": {"note": "kept"},
    }
)
ABSENT = descriptor(b"a platform that is not carried", OCI_MANIFEST)
SPARSE = strictjson.canonical(
    {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(APP.manifest, OCI_MANIFEST).as_json(), ABSENT.as_json()],
    }
)
FILE = strictjson.canonical(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(b"{}", OCI_EMPTY).as_json(),
        "layers": [descriptor(LARGE).as_json()],
    }
)
CONTENT = Content(
    blobs={REPOSITORY: [*APP.blobs.values(), b"{}"], OTHER: [b"{}", LARGE]},
    manifests={
        REPOSITORY: [
            Manifested(APP.manifest, OCI_MANIFEST, ("1.0", "Latest")),
            Manifested(SIGNATURE, OCI_MANIFEST),
            Manifested(SPARSE, OCI_INDEX, ("multi",)),
        ],
        OTHER: [Manifested(FILE, OCI_MANIFEST, ("big",))],
    },
)


class ContentSourceContract:
    """The contract; a class that inherits it and gives `source` is tested."""

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContentSource]:
        raise NotImplementedError

    def test_repositories_are_named(self, source: ContentSource) -> None:
        assert sorted(source.repositories()) == [REPOSITORY, OTHER]

    def test_tags_belong_to_one_repository(self, source: ContentSource) -> None:
        assert sorted(source.tags(REPOSITORY)) == ["1.0", "Latest", "multi"]
        assert sorted(source.tags(OTHER)) == ["big"]
        assert list(source.tags("never/seen")) == []

    def test_a_tag_resolves_to_type_digest_and_size(self, source: ContentSource) -> None:
        found = source.resolve(REPOSITORY, "1.0")
        assert found is not None
        assert (found.media_type, found.digest, found.size) == (
            OCI_MANIFEST, Digest.of(APP.manifest), len(APP.manifest),
        )  # fmt: skip

    def test_unknown_names_give_nothing(self, source: ContentSource) -> None:
        assert source.resolve(REPOSITORY, "2.0") is None
        assert source.resolve("never/seen", "1.0") is None
        assert source.manifest(REPOSITORY, UNKNOWN) is None
        assert source.blob(REPOSITORY, UNKNOWN) is None
        assert list(source.referrers(REPOSITORY, UNKNOWN)) == []
        assert list(source.referrers("never/seen", UNKNOWN)) == []

    def test_manifests_come_back_byte_for_byte(self, source: ContentSource) -> None:
        for repository, manifests in CONTENT.manifests.items():
            for item in manifests:
                assert source.manifest(repository, Digest.of(item.data)) == (item.data, item.media_type)

    def test_a_manifest_of_another_repository_is_not_visible(self, source: ContentSource) -> None:
        assert source.manifest(OTHER, Digest.of(APP.manifest)) is None

    def test_a_blob_of_another_repository_is_not_visible(self, source: ContentSource) -> None:
        assert source.blob(REPOSITORY, Digest.of(LARGE)) is None

    def test_a_blob_reads_whole_and_anywhere(self, source: ContentSource) -> None:
        content = source.blob(OTHER, Digest.of(LARGE))
        assert content is not None
        try:
            assert content.size == len(LARGE)
            assert content.read(0, content.size) == LARGE
            for offset, length in ((0, 1), (1, 5), ((4 << 20) - 3, 7), (len(LARGE) - 2, 2)):
                assert content.read(offset, length) == LARGE[offset : offset + length]
        finally:
            content.close()

    def test_reading_past_the_end_gives_what_is_there(self, source: ContentSource) -> None:
        content = source.blob(REPOSITORY, Digest.of(APP.config))
        assert content is not None
        try:
            assert content.read(content.size - 3, 100) == APP.config[-3:]
            assert content.read(content.size, 10) == b""
        finally:
            content.close()

    def test_an_untagged_referrer_is_listed_with_its_type_and_annotations(self, source: ContentSource) -> None:
        (found,) = source.referrers(REPOSITORY, Digest.of(APP.manifest))
        assert found.digest == Digest.of(SIGNATURE)
        assert found.artifact_type == Manifest.parse(SIGNATURE, OCI_MANIFEST).artifact_type
        assert dict(found.annotations) == {"note": "kept"}

    def test_a_child_that_an_index_names_and_nobody_carries_is_absent_on_purpose(self, source: ContentSource) -> None:
        assert source.is_absent(REPOSITORY, ABSENT.digest)
        assert not source.is_absent(REPOSITORY, UNKNOWN)
        assert not source.is_absent(REPOSITORY, Digest.of(APP.manifest))
