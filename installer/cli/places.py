"""The two ends of a mirror as a person names them, opened: a bundle, an OCI layout, a store or a registry.

bundle:FILE                        a bundle, verified first
oci:FOLDER                         an OCI image layout
store:FOLDER                       a registry's store on this machine
https://HOST[:PORT][/BASE]         a registry, and what lies below a base path there
http://127.0.0.1:PORT[/BASE]       the same without TLS, on this machine alone
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from installer.cli.connecting import read_password
from registry.errors import UsageError

if TYPE_CHECKING:
    from registry.client.access import LoginSource
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
        return self.origin.partition("://")[2]

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
class Logging:
    """How registries are logged in to: files of docker's or podman's format, and per side a user, a CA and a folder."""

    authfiles: Sequence[Path] = ()
    certificates: Path | None = None
    rate: float | None = None

    def transport(self, place: Place, user: str | None, password_file: Path | None, ca: Path | None) -> Transport:
        """Return the way to a registry. Raises UsageError; nothing is asked yet."""
        from dataclasses import replace  # noqa: PLC0415 - `--help` need not wait for TLS

        from registry.client.access import Access  # noqa: PLC0415
        from registry.client.logins import Certificates  # noqa: PLC0415
        from registry.client.pace import Pace, Throttle  # noqa: PLC0415
        from registry.client.transport import Transport  # noqa: PLC0415

        access = Access(ca=ca, login=self._login(place, user, password_file))
        if self.certificates:
            found = Certificates.of(self.certificates, place.host)
            access = replace(access, ca=ca or found.ca, certificate=found.certificate, key=found.key)
        pace = Pace(throttle=Throttle(self.rate)) if self.rate else None
        return Transport(place.origin, access, pace=pace)

    def _login(self, place: Place, user: str | None, password_file: Path | None) -> LoginSource:
        from registry.client.access import fixed_login, nobody  # noqa: PLC0415 - as above
        from registry.client.logins import Logins  # noqa: PLC0415

        if (user is None) != (password_file is None):
            raise UsageError(
                "login-incomplete", "a user and a password file belong together", hint="give both, or none"
            )
        if user is not None and password_file is not None:
            return fixed_login(user, read_password(password_file))
        return Logins.read(self.authfiles).source(place.host, place.base) if self.authfiles else nobody


def side_options(side: str, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds `--SIDE-ca`, `--SIDE-user` and `--SIDE-password-file` to a command."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(f"--{side}-password-file", type=FILE, help="File whose first line is the password."),
            click.option(f"--{side}-user", metavar="NAME", help=f"User at {words}."),
            click.option(f"--{side}-ca", type=FILE, help=f"The CA that vouches for {words} (PEM)."),
        ):
            command = option(command)
        return command

    return add


def logging_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --authfile, --certs and --limit-rate to a command."""
    for option in (
        click.option("--limit-rate", metavar="MB/S", type=click.FloatRange(min=0.001), help="Bytes over all streams."),
        click.option(
            "--certs", "certificates", type=FOLDER, help="Folder of HOST:PORT/{ca.crt,client.cert,client.key}."
        ),
        click.option(
            "--authfile",
            "authfiles",
            type=FILE,
            multiple=True,
            help="Logins as docker or podman keep them; once each.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Side:
    """One end with what opens it."""

    place: Place
    logging: Logging = Logging()
    user: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    home: Path | None = None
    first_root: Path | None = None
    fingerprint: str | None = None

    @contextmanager
    def source(self) -> Iterator[ContentSource]:
        """Open it to copy from. Raises UsageError, TrustError, MediaError, SiteError."""
        place = self.place
        if place.is_registry:
            from registry.client.remote import RemoteRegistry  # noqa: PLC0415 - as above

            with RemoteRegistry.over(self._transport()) as remote:
                yield remote
        elif place.kind == "bundle":
            from installer.cli.serving import open_bundle  # noqa: PLC0415

            verified = open_bundle(place.path, self.home, self.first_root, self.fingerprint)
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
            from registry.client.push import RemoteTarget  # noqa: PLC0415 - as above
            from registry.client.uploads import Habits  # noqa: PLC0415
            from registry.mirror.remote import RegistryTarget  # noqa: PLC0415

            transport = self._transport()
            try:
                # What a broken request left is not counted on before it was seen: large blobs go in chunks.
                yield RegistryTarget(RemoteTarget(transport, Habits(keeps_broken=False)))
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

    def _transport(self) -> Transport:
        return self.logging.transport(self.place, self.user, self.password_file, self.ca)


def _must_be_store(folder: Path) -> None:
    if not (folder / "index.sqlite").is_file():
        raise UsageError(
            "store-missing", "there is no store", where=str(folder), hint="name a folder that a registry serves from"
        )
