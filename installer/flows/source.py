"""What hosts install from: the mounted bundle and what the site signed, on this machine's loopback only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundles.content import BundleContent
from installer.site.pki import Leaf
from registry.store.store import Store


@contextmanager
def serving(leaf: Leaf, users: Path, store: Store, bundle: BundleContent) -> Iterator[int]:
    """Serve read-only, TLS by the site CA, to known users; give the port, which the system chose."""
    from registry.server.serve import Running  # noqa: PLC0415 - a web server that only apply needs
    from registry.server.settings import Settings  # noqa: PLC0415

    settings = Settings(
        host="127.0.0.1",
        port=0,
        certificate=leaf.certificate,
        key=leaf.key,
        users=users,
        store=None,
        read_only=True,
    )
    with Running(settings, store, [bundle]) as running:
        yield running.port
