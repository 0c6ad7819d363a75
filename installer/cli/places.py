"""The two ends of a mirror as a person names them, opened: a bundle, an OCI layout, a store or a registry.

bundle:FILE                        a bundle, verified first
oci:FOLDER                         an OCI image layout
store:FOLDER                       a registry's store on this machine
https://HOST[:PORT][/BASE]         a registry, and what lies below a base path there
http://127.0.0.1:PORT[/BASE]       the same without TLS, on this machine alone
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from installer.cli.connecting import Reach, host_of
from installer.cli.trusting import Trust
from registry.errors import UsageError

if TYPE_CHECKING:
    from registry.client.transport import Transport
    from registry.content import ContentSource
    from registry.mirror.target import Target

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
KINDS = ("bundle", "oci", "store", "https", "http")
FORMS = "bundle:FILE, oci:FOLDER, store:FOLDER or https://HOST[:PORT][/BASE]"


@dataclass(frozen=True)
class Place:
    """One end, parsed: `kind`, and the path or the registry's origin and base path."""

    text: str
    kind: str
    path: Path
    origin: str = ""
    base: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return what a person named. Raises UsageError."""
        kind, _, rest = text.partition(":")
        if kind not in KINDS or not rest.strip("/"):
            raise UsageError(
                "place-malformed", "not a place to copy from or to", expected=FORMS, seen=text[:200], hint="oci:FOLDER"
            )
        if kind not in ("https", "http"):
            return cls(text, kind, Path(rest))
        host, _, base = rest.lstrip("/").partition("/")
        from registry.oci.reference import repository_name  # noqa: PLC0415 - `--help` need not wait for it

        try:
            base = repository_name(base.strip("/")) if base.strip("/") else ""
        except ValueError as error:
            raise UsageError(
                "place-malformed", str(error), expected=FORMS, seen=text[:200], hint="a base path is in lower case"
            ) from error
        return cls(text, kind, Path(), f"{kind}://{host}", base)

    @property
    def is_registry(self) -> bool:
        """Whether it is a registry."""
        return bool(self.origin)

    @property
    def host(self) -> str:
        """The registry's host and port."""
        return host_of(self.origin)

    def below(self, name: str) -> str:
        """Return the repository below the base path."""
        return f"{self.base}/{name}" if self.base else name

    def inside(self, repository: str) -> str | None:
        """Return a repository's name as seen from the base path; None if it lies elsewhere."""
        if not self.base:
            return repository
        return repository[len(self.base) + 1 :] if repository.startswith(f"{self.base}/") else None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Side:
    """One end with what opens it."""

    place: Place
    reach: Reach = field(default_factory=Reach)
    trust: Trust = field(default_factory=Trust)

    @contextmanager
    def source(self) -> Iterator[ContentSource]:
        """Open it to copy from. Raises UsageError, TrustError, MediaError, SiteError."""
        place = self.place
        if place.is_registry:
            from registry.client.remote import RemoteRegistry  # noqa: PLC0415 - as above

            with RemoteRegistry.over(self.transport()) as remote:
                yield remote
        elif place.kind == "bundle":
            from installer.cli.serving import open_bundle  # noqa: PLC0415

            verified = open_bundle(place.path, self.trust)
            try:
                yield verified.content()
            finally:
                verified.close()
        elif place.kind == "oci":
            from registry.mirror.layout import Layout  # noqa: PLC0415

            yield Layout(place.path)
        else:
            from registry.store.store import Store  # noqa: PLC0415

            _must_be_store(place.path)
            with Store.open(place.path) as store:
                yield store

    @contextmanager
    def target(self) -> Iterator[Target]:
        """Open it to copy to. Raises UsageError, SiteError."""
        place = self.place
        if place.is_registry:
            from installer.cli.probing import found  # noqa: PLC0415 - as above
            from registry.client.push import RemoteTarget  # noqa: PLC0415
            from registry.mirror.remote import RegistryTarget  # noqa: PLC0415

            transport = self.transport()
            try:
                yield RegistryTarget(RemoteTarget(transport, found(transport, place.base)))
            finally:
                transport.close()
        elif place.kind == "oci":
            from registry.mirror.layout import filled  # noqa: PLC0415

            with filled(place.path) as layout:
                yield layout
        elif place.kind == "store":
            from registry.mirror.target import StoreTarget  # noqa: PLC0415
            from registry.store.store import Store  # noqa: PLC0415

            with Store.open(place.path) as store:
                yield StoreTarget(store)
        else:
            raise UsageError(
                "bundle-as-target",
                "a bundle is built from a lock, not filled",
                where=str(place),
                hint="dryport mirror lock SRC --out bundle.lock.json, then dryport bundle build",
            )

    def transport(self) -> Transport:
        """Return the way to the registry. Raises UsageError; nothing is asked yet."""
        return self.reach.transport(self.place.origin, self.place.base)


def _must_be_store(folder: Path) -> None:
    if not (folder / "index.sqlite").is_file():
        raise UsageError(
            "store-missing", "there is no store", where=str(folder), hint="name a folder that a registry serves from"
        )
