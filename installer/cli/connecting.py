"""How a command is told about a registry: address, CA, user, and a file with the password, never the password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry.errors import UsageError

if TYPE_CHECKING:
    from installer.cli.trusting import Trust
    from registry.client.remote import RemoteRegistry

PASSWORD_BYTES = 4096
_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Login:
    """How a registry is reached: whose certificate it shows, and who asks."""

    ca: Path | None = None
    user: str | None = None
    password_file: Path | None = None

    @property
    def is_given(self) -> bool:
        """Whether any of the options was used."""
        return any(part is not None for part in astuple(self))

    def to(self, url: str) -> RemoteRegistry:
        """Return the registry at `url`; nothing is asked yet. Raises UsageError."""
        from registry.client.remote import RemoteRegistry  # noqa: PLC0415 - `--help` need not wait for TLS

        if (self.user is None) != (self.password_file is None):
            raise UsageError(
                "login-incomplete", "a user and a password file belong together", hint="give both, or none"
            )
        password = read_password(self.password_file) if self.password_file else None
        return RemoteRegistry(url, ca=self.ca, user=self.user, password=password)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --ca, --user and --password-file to a command, which gets them as one `login`."""

    @wraps(command)
    def run(*, ca: Path | None, user: str | None, password_file: Path | None, **others: object) -> object:
        return command(login=Login(ca, user, password_file), **others)

    for option in (
        click.option("--password-file", type=_FILE, help="File whose first line is the password."),
        click.option("--user", metavar="NAME", help="User at the registry.  [default: nobody]"),
        click.option("--ca", type=_FILE, help="The CA that vouches for the registry (PEM).  [default: the system's]"),
    ):
        run = option(run)
    return run


def refuse_mixed(login: Login, trust: Trust, *, registry: bool, bundle: bool, where: str = "") -> None:
    """Raise UsageError for a login without a registry, or a trust without a bundle: one of both is a mistake."""
    if (login.is_given and not registry) or (trust.is_given and not bundle):
        raise UsageError(
            "options-mixed",
            "--ca, --user and --password-file are for a registry; --home, --root and --fingerprint are for a bundle",
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
