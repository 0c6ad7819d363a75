"""How a command is told about a registry: address, CA, user, and a file with the password, never the password."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry.errors import UsageError

if TYPE_CHECKING:
    from registry.client.remote import RemoteRegistry

PASSWORD_BYTES = 4096
_FILE = click.Path(path_type=Path, dir_okay=False)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --ca, --user and --password-file to a command."""
    for option in (
        click.option("--password-file", type=_FILE, help="File whose first line is the password."),
        click.option("--user", metavar="NAME", help="User at the registry.  [default: nobody]"),
        click.option("--ca", type=_FILE, help="The CA that vouches for the registry (PEM).  [default: the system's]"),
    ):
        command = option(command)
    return command


def connect(url: str, ca: Path | None, user: str | None, password_file: Path | None) -> RemoteRegistry:
    """Return the registry that the options name; nothing is asked yet. Raises UsageError."""
    from registry.client.remote import RemoteRegistry  # noqa: PLC0415 - `--help` need not wait for TLS

    if (user is None) != (password_file is None):
        raise UsageError("login-incomplete", "a user and a password file belong together", hint="give both, or none")
    password = read_password(password_file) if password_file else None
    return RemoteRegistry(url, ca=ca, user=user, password=password)


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
