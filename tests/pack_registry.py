"""A registry of ours over TLS to which packs are pushed, and the options that name it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from registry.client.remote import RemoteRegistry
from registry.packs.oras_client import Oras
from registry.packs.place import Place
from registry.packs.pushing import Push
from registry.packs.shelf import Shelf
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority

PASSWORD = "correct horse"


@dataclass(frozen=True)
class Site:
    """A running registry, its authority, and a file with the password of its users."""

    url: str
    ca: Path
    password_file: Path
    store: Store

    def options(self, user: str = "push") -> Sequence[str]:
        """Return the options of a command."""
        return (
            *("--registry", self.url, "--ca", str(self.ca)),
            *("--user", user, "--password-file", str(self.password_file)),
        )

    @contextmanager
    def shelf(self, place: Place | None = None, user: str = "push") -> Iterator[Shelf]:
        """Give the packs below a place."""
        with RemoteRegistry(self.url, ca=self.ca, user=user, password=PASSWORD) as remote:
            yield Shelf(remote, place or Place())

    @contextmanager
    def pushing(self, name: str, place: Place | None = None, user: str = "push") -> Iterator[Push]:
        """Give what pushes versions of a pack."""
        with (
            self.shelf(place, user) as shelf,
            Oras(self.url, ca=self.ca, user=user, password=PASSWORD, repository=shelf.place.repository(name)) as oras,
        ):
            yield Push(shelf, oras)


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(folder: Path, *, tokens: bool = False) -> Iterator[Site]:
    """Give a registry with the users push, create and pull; with `tokens` it wants bearer tokens."""
    authority = Authority(folder)
    identity = authority.issue()
    users = folder / "users"
    grants = {"push": "pull,push:*", "create": "pull,create:*", "pull": "pull:*"}
    users.write_text("".join(user_line(name, PASSWORD, [grant]) + "\n" for name, grant in grants.items()))
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    port = free_port() if tokens else 0
    settings = Settings(
        port=port,
        certificate=identity.certificate,
        key=identity.key,
        users=users,
        external_url=f"https://127.0.0.1:{port}" if tokens else None,
        access=folder / "access" if tokens else None,
    )
    with Store.open(folder / "store") as store, Running(settings, store) as server:
        yield Site(server.url, authority.ca, password, store)
