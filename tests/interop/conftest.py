"""Everything in this folder runs foreign programs or asks a package registry, so it is `interop`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.oci.reference import Reference
from registry.store.store import Store
from tests.conftest import need, need_root
from tests.interop.isolated import Isolated, isolated
from tests.interop.mirrored import fill


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder, so that no file can forget to."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Reference]]:
    """A store with others' images, and their original names with digests."""
    folder = tmp_path_factory.mktemp("mirrored") / "store"
    with Store.open(folder) as store:
        return folder, fill(store)


@pytest.fixture(scope="session")
def mirror(mirrored: tuple[Path, list[Reference]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Isolated]:
    """A registry with these images in a network of its own, whose every other way leads into a trap."""
    need_root()
    need("strace", "nsenter", "unshare", "ip")
    with isolated(tmp_path_factory.mktemp("isolated"), mirrored[0]) as running:
        yield running
