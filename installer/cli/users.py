"""`dryport registry user`: who may pull and push, in the users file that a running server reads again by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from installer.cli.connecting import read_password
from installer.cli.render import Console, Verbs, json_option
from registry.errors import SiteError, UsageError

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Verbs)
def user() -> None:
    """Say who may pull and push."""


@user.command()
@click.argument("name")
@click.option("--users", type=FILE, required=True, help="Users file; made if it is not there.")
@click.option("--password-file", type=FILE, help="File whose first line is the password.")
@click.option(
    "--certificate",
    metavar="KIND:NAME",
    help="Instead: what the client's certificate is called, as uri:spiffe://site/ci, dns:ci.example.org, cn:ci.",
)
@click.option(
    "--grant",
    "grants",
    metavar="ACTIONS:GLOB",
    multiple=True,
    required=True,
    help="As pull:* or pull,push:team/*; once for each. Actions: pull, create, push, delete; metrics, admin with *.",
)
@json_option
def add(
    *,
    name: str,
    users: Path,
    password_file: Path | None,
    certificate: str | None,
    grants: tuple[str, ...],
    as_json: bool,
) -> None:
    """Let NAME in, or change what NAME may do. A running server sees it with the next request."""
    from registry.server.users import certificate_line, user_line  # noqa: PLC0415 - `--help` need not wait for it

    if (password_file is None) == (certificate is None):
        raise UsageError(
            "user-needs-one",
            "a user is known by a password or by a certificate, one of the two",
            where=name,
            hint="--password-file FILE, or --certificate KIND:NAME",
        )
    if certificate is not None:
        line = certificate_line(name, certificate, grants)
    else:
        line = user_line(name, read_password(password_file or Path()), grants)
    with _changing(users) as lines:
        kept = [one for one in lines if not one.startswith(f"{name}:")]
        _write(users, [*kept, line])
    word = "changed" if len(kept) < len(lines) else "added"
    value = {"name": name, "users": str(users), "grants": list(grants), word: True}
    Console(as_json=as_json).result("RegistryUser", value, f"{name}: {word} in {users}, may {', '.join(grants)}")


@user.command("list")
@click.option("--users", type=FILE, required=True, help="Users file.")
@json_option
def list_(*, users: Path, as_json: bool) -> None:
    """Say who is known, how, and what each may do."""
    from registry.server.users import ANONYMOUS, Users  # noqa: PLC0415 - as above

    found = Users.load(users)
    rows = [
        {
            "name": one.name,
            "by": "certificate" if one.is_known_by_certificate else "password",
            "grants": [str(grant) for grant in one.grants],
        }
        for one in found.all()
    ]
    if found.everybody:
        rows.append({"name": ANONYMOUS, "by": "nothing", "grants": [str(grant) for grant in found.everybody]})
    lines = [f"{row['name']}  by {row['by']}  {' '.join(row['grants'])}" for row in rows]
    Console(as_json=as_json).result("RegistryUsers", {"users": rows}, "\n".join(lines) or "no users")


@user.command()
@click.argument("name")
@click.option("--users", type=FILE, required=True, help="Users file.")
@json_option
def remove(*, name: str, users: Path, as_json: bool) -> None:
    """Let NAME in no more; tokens that NAME was given end too."""
    with _changing(users) as lines:
        kept = [one for one in lines if not one.startswith(f"{name}:")]
        if len(kept) == len(lines):
            raise UsageError(
                "user-unknown", "there is no such user", where=name, hint=f"dryport registry user list --users {users}"
            )
        _write(users, kept)
    Console(as_json=as_json).result("RegistryUserRemoved", {"name": name, "users": str(users)}, f"{name}: removed")


@contextmanager
def _changing(users: Path) -> Iterator[Sequence[str]]:
    """Give the file's lines, and let nobody else change it meanwhile; a damaged file is not made worse.

    Raises SiteError.
    """
    from registry.server.users import Users  # noqa: PLC0415 - as above
    from registry.store import durable  # noqa: PLC0415

    try:
        with durable.changing(users.parent):
            lines = users.read_text("utf-8").splitlines() if users.exists() else []
            Users.parse("\n".join(lines), str(users))
            yield lines
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError(
            "users-unwritable",
            "the users file cannot be changed",
            where=str(users),
            seen=str(error),
            hint="run it as the user whom the file belongs to, or name another --users",
        ) from error


def _write(users: Path, lines: Sequence[str]) -> None:
    """Replace the file; it stays its owner's, and as readable as it was."""
    from registry.store import durable  # noqa: PLC0415 - as above

    durable.replace(users, "".join(f"{one}\n" for one in lines).encode(), 0o600, keeps_owner=True)
