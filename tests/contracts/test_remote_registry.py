"""A registry over HTTPS keeps the contract of content sources, and so does a store that was copied from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.client.remote import RemoteRegistry
from registry.mirror.copy import copy
from registry.mirror.target import StoreTarget
from registry.progress import Silent
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.contracts.content_source import ContentSourceContract
from tests.contracts.test_content_source import fill

PASSWORD = "correct horse"


@contextmanager
def served(folder: Path) -> Iterator[RemoteRegistry]:
    """Give the content over TLS, to a user that may pull."""
    authority = Authority(folder)
    identity = authority.issue()
    users = folder / "users"
    users.write_text(user_line("pull", PASSWORD, ["pull:*"]) + "\n")
    settings = Settings(certificate=identity.certificate, key=identity.key, users=users)
    with (
        Store.open(folder / "origin") as store,
        Running(settings, None, [fill(store)]) as server,
        RemoteRegistry(server.url, ca=authority.ca, user="pull", password=PASSWORD) as remote,
    ):
        yield remote


class TestRemoteRegistry(ContentSourceContract):
    """Over HTTPS."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[RemoteRegistry]:
        with served(tmp_path) as remote:
            yield remote


class TestCopiedStore(ContentSourceContract):
    """A store filled from a store."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Store]:
        with Store.open(tmp_path / "origin") as origin, Store.open(tmp_path / "copy") as store:
            copy(fill(origin), StoreTarget(store), Silent())
            yield store


class TestStoreCopiedOverHttps(ContentSourceContract):
    """A store filled from a registry."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Store]:
        with served(tmp_path) as remote, Store.open(tmp_path / "copy") as store:
            copy(remote, StoreTarget(store), Silent())
            yield store
