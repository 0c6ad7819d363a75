"""A registry in the place of those that definitions name, and how a lock reaches it.

>>> with registry_of_images(folder) as origin: lock(path, Inputs(path.parent, {}, scratch, origin.registries()))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bundles.sources.registries import Registries
from registry.client.remote import RemoteRegistry
from registry.mirror.mapping import Mapping, Mirror, Rule
from registry.store.store import Store
from tests import pack_registry

HOST = "registry.example.org"


@dataclass(frozen=True)
class Origin:
    """A running registry that holds what `registry.example.org` would."""

    site: pack_registry.Site

    @property
    def store(self) -> Store:
        """What it serves; repositories lie below the host's name."""
        return self.site.store

    def registries(self) -> Registries:
        """Return how it is reached."""
        host = self.site.url.removeprefix("https://")

        def reach(_: str) -> RemoteRegistry:
            return RemoteRegistry(self.site.url, ca=self.site.ca, user="pull", password=pack_registry.PASSWORD)

        return Registries(reach, Mapping((Mirror.parse(host),), (Rule.parse(HOST),)))


@contextmanager
def registry_of_images(folder: Path) -> Iterator[Origin]:
    """Run one, empty."""
    folder.mkdir(exist_ok=True)
    with pack_registry.running(folder) as site:
        yield Origin(site)
