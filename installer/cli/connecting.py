"""How a command is told about a registry: address, who vouches for it, who asks, and through which proxy.

Passwords come from files and programs, never from the command line. Where no login is named, the files are looked into
that `podman login` and `docker login` write, and not before the registry asks who is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from registry.errors import UsageError

if TYPE_CHECKING:
    from installer.cli.trusting import Trust
    from registry.client.access import Access, Login, Proxy
    from registry.client.pace import Throttle
    from registry.client.remote import RemoteRegistry
    from registry.client.transport import Transport

PASSWORD_BYTES = 4096
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_ONE_REGISTRY = (
    click.option("--ca", type=_FILE, help="The CA that vouches for the registry (PEM).  [default: the system's]"),
    click.option("--user", metavar="NAME", help="User at the registry.  [default: see --authfile]"),
    click.option("--password-file", type=_FILE, help="File whose first line is the password."),
)
_BY_HOST = (
    click.option("--certs", type=_FOLDER, help="Folder of HOST:PORT/ca.crt, client.cert and client.key."),
    click.option("--authfile", type=_FILE, help="Logins of podman or docker.  [default: where these keep them]"),
    click.option(
        "--token-realm",
        "realms",
        multiple=True,
        metavar="URL",
        help="Another server that may get the login, for a token; once for each.",
    ),
    click.option("--proxy", metavar="URL", help="HTTP proxy to reach the registry through.  [default: none]"),
    click.option("--no-proxy", "direct", default="", metavar="LIST", help="Hosts and networks reached without it."),
)


@dataclass(frozen=True)
class Reach:
    """What a command's options say about reaching a registry."""

    ca: Path | None = None
    certs: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    authfile: Path | None = None
    realms: tuple[str, ...] = ()
    proxy: str | None = None
    direct: str = ""

    rate: Throttle | None = None
    """The bytes a second that it shares with others."""

    @property
    def is_given(self) -> bool:
        """Whether any of the options was."""
        return any(getattr(self, one.name) for one in fields(self))

    def access(self, url: str, repository: str = "") -> Access:
        """Return how the registry at `url` is reached, for one repository of it or for all. Raises UsageError."""
        from registry.client.access import Access, fixed_login  # noqa: PLC0415 - `--help` need not wait for TLS
        from registry.client.address import registry_origin  # noqa: PLC0415
        from registry.client.logins import Certificates  # noqa: PLC0415

        if (self.user is None) != (self.password_file is None):
            raise UsageError("login-incomplete", "a user and a password file belong together", hint="give both")
        host = host_of(url)
        login: Callable[[], Login | None] = lambda: self._kept(host, repository)  # noqa: E731
        if self.password_file:
            login = fixed_login(self.user, read_password(self.password_file))
        kept = Certificates.of(self.certs, host) if self.certs else Certificates()
        realms = frozenset(registry_origin(realm) for realm in self.realms)
        return Access(self.ca or kept.ca, kept.certificate, kept.key, login, realms, self._proxy())

    def transport(self, url: str, repository: str = "") -> Transport:
        """Return the way to the registry; nothing is asked yet. Raises UsageError."""
        from registry.client.pace import Pace  # noqa: PLC0415 - as above
        from registry.client.transport import Transport  # noqa: PLC0415

        pace = Pace(throttle=self.rate) if self.rate else None
        return Transport(url, self.access(url, repository), pace=pace)

    def registry(self, url: str) -> RemoteRegistry:
        """Return the registry as a source; nothing is asked yet. Raises UsageError."""
        from registry.client.remote import RemoteRegistry  # noqa: PLC0415 - as above

        return RemoteRegistry.over(self.transport(url))

    def _kept(self, host: str, repository: str = "") -> Login | None:
        from registry.client.logins import Logins  # noqa: PLC0415 - as above

        paths = [self.authfile] if self.authfile else default_authfiles(os.environ)
        return Logins.read(paths).find(host, repository)

    def _proxy(self) -> Proxy | None:
        from registry.client.access import Proxy  # noqa: PLC0415 - as above

        if self.proxy is None:
            return None
        try:
            parts = urlsplit(self.proxy)
            usable = parts.scheme == "http" and parts.hostname and not parts.path.strip("/") and (parts.port or 1)
        except ValueError:
            parts, usable = urlsplit(""), False
        if not usable or parts.username is not None:
            raise UsageError(
                "proxy-address",
                "a proxy is named by http, host and port alone",
                hint="http://proxy.example.org:3128; its login is taken from --authfile, by HOST:PORT",
            )
        direct = tuple(rule for rule in self.direct.replace(",", " ").split() if rule)
        return Proxy(self.proxy, direct, lambda: self._kept(parts.netloc))


def login_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --ca, --user and --password-file to a command, which gets each by its name."""
    for option in reversed(_ONE_REGISTRY):
        command = option(command)
    return command


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about one registry to a command, which gets them as `reach`."""
    return _collecting(command, (*_ONE_REGISTRY, *_BY_HOST))


def host_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those that tell registries apart by host to a command that reaches several, which gets them as `reach`."""
    return _collecting(command, _BY_HOST)


def side_options(side: str, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds the options about one of several registries, `--SIDE-ca` and so on, which stay as they are."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(f"--{side}-password-file", type=_FILE, help="File whose first line is the password."),
            click.option(f"--{side}-user", metavar="NAME", help=f"User at {words}."),
            click.option(f"--{side}-ca", type=_FILE, help=f"The CA that vouches for {words} (PEM)."),
        ):
            command = option(command)
        return command

    return add


def _collecting(command: Callable[..., Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    @wraps(command)
    def collected(**values: Any) -> Any:  # noqa: ANN401 - a command's values and result are its own
        given = {one.name: values.pop(one.name) for one in fields(Reach) if one.name in values}
        return command(reach=Reach(**given), **values)

    for option in reversed(options):
        collected = option(collected)
    return collected


def host_of(url: str) -> str:
    """Return a registry's host, with its port where one is named: as other tools' files know it."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def default_authfiles(environment: Mapping[str, str]) -> list[Path]:
    """Return the files that are there of those in which podman and docker keep logins."""
    if named := environment.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    home = Path(environment.get("HOME", "/"))
    places = [
        Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json",
        Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json",
    ]
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        places.insert(0, Path(runtime) / "containers/auth.json")
    return [place for place in places if place.is_file()]


def refuse_mixed(reach: Reach, trust: Trust, *, registry: bool, bundle: bool, where: str = "") -> None:
    """Raise UsageError for a reach without a registry, or a trust without a bundle: one of both is a mistake."""
    if (reach.is_given and not registry) or (trust.is_given and not bundle):
        raise UsageError(
            "options-mixed",
            "--home, --root and --fingerprint are for a bundle; --ca, --user and their like are for a registry",
            where=where,
            hint="leave out those that do not belong to this source",
        )


def read_password(path: Path) -> str:
    """Return the first line of a file. Raises UsageError."""
    try:
        with path.open("rb") as file:
            line = file.readline(PASSWORD_BYTES).rstrip(b"\r\n").decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "file-unreadable",
            str(error),
            where=str(path),
            hint="give a text file that this user can read: --password-file FILE",
        ) from error
    if not line:
        raise UsageError(
            "password-empty",
            "the first line of the password file is empty",
            where=str(path),
            hint="write the password into its first line",
        )
    return line
