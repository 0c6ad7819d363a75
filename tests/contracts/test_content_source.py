"""The content sources of `registry` keep the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.oci.digest import Digest
from registry.server.sources import Sources
from registry.store.store import Store
from tests.contracts.content_source import CONTENT, OTHER, REPOSITORY, Content, ContentSourceContract


def fill(store: Store, content: Content = CONTENT, *repositories: str) -> Store:
    """Put content into a store, as an importer does."""
    for repository in repositories or content.blobs:
        for data in content.blobs[repository]:
            store.put_blob(repository, Digest.of(data), [data[:1000], data[1000:]])
        for item in content.manifests[repository]:
            store.put_manifest(repository, item.data, item.media_type, item.tags)
    return store


class TestStore(ContentSourceContract):
    """The store."""

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
        with Store.open(tmp_path_factory.mktemp("content") / "store") as store:
            yield fill(store)


class TestStoreOpenedAgain(ContentSourceContract):
    """The store, after the process that filled it has gone."""

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
        folder = tmp_path_factory.mktemp("content")
        with Store.open(folder) as store:
            fill(store)
        with Store.open(folder) as store:
            yield store


class TestSources(ContentSourceContract):
    """A store and a mount, shown as one."""

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
        folder = tmp_path_factory.mktemp("content")
        with Store.open(folder / "own") as own, Store.open(folder / "mounted") as mounted:
            yield Sources([fill(own, CONTENT, REPOSITORY), fill(mounted, CONTENT, OTHER)])
