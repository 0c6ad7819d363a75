"""`dryport registry token` and `dryport registry audit`: robots, tokens that must end, and who changed what.

Both work on the access folder of a registry, beside a running server: it sees what changed with its next request.
Run as root, they write as the folder's owner, so that the service can read and go on writing what they wrote.
"""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from installer.cli.render import Console, Verbs, json_option
from registry.errors import SiteError, UsageError

if TYPE_CHECKING:
    from registry.server.robots import Robots

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
store_option = click.option("--store", type=FOLDER, help="The registry's store.")
access_option = click.option("--access", type=FOLDER, help="Its access folder, if that is not in the store.")


@click.group(cls=Verbs)
def token() -> None:
    """Make and end robots: programs with a secret of their own."""


@token.command()
@click.argument("name")
@click.option(
    "--grant",
    "grants",
    metavar="ACTIONS:GLOB",
    multiple=True,
    required=True,
    help="As pull:* or create:team/*; once for each.",
)
@click.option("--days", type=int, metavar="N", default=90, show_default=True, help="How long the robot lives.")
@click.option("--out", type=FILE, required=True, help="New file for the secret, readable by you alone.")
@store_option
@access_option
@json_option
def create(
    *,
    name: str,
    grants: tuple[str, ...],
    days: int,
    out: Path,
    store: Path | None,
    access: Path | None,
    as_json: bool,
) -> None:
    """Make the robot NAME. It logs in as robot@NAME; its secret goes to a file and is kept nowhere else."""
    from registry.server.robots import new_robot  # noqa: PLC0415 - `--help` need not wait for it
    from registry.store import durable  # noqa: PLC0415

    robot, secret = new_robot(name, grants, days, datetime.now(UTC))
    with _robots(store, access) as (_, robots):
        _refuse_known(robots, robot.name)
    try:
        durable.create(out, f"{secret}\n".encode())
    except OSError as error:
        raise SiteError(
            "secret-unwritable",
            "the secret cannot be written",
            where=str(out),
            seen=str(error),
            hint="choose another place with --out; no robot was made",
        ) from error
    try:
        with _robots(store, access) as (folder, robots):
            _refuse_known(robots, robot.name)  # somebody may have been quicker
            _save(folder, robots.with_robot(robot), "token.create", robot.name, ", ".join(map(str, robot.grants)))
    except BaseException:
        durable.remove(out)  # it opens nothing
        raise
    value = {
        "name": robot.name,
        "grants": [str(grant) for grant in robot.grants],
        "expires": robot.expires.isoformat(),
        "secret": str(out),
    }
    Console(as_json=as_json).result(
        "RegistryToken", value, f"{robot.name}: until {robot.expires:%Y-%m-%d}, secret in {out}"
    )


@token.command("list")
@store_option
@access_option
@json_option
def list_(*, store: Path | None, access: Path | None, as_json: bool) -> None:
    """Say which robots there are, what they may and until when."""
    with _robots(store, access) as (_, robots):
        found = robots.all()
    now = time.time()
    lines = [
        f"{one.name}  {'OVER since' if one.is_over(now) else 'until'} {one.expires:%Y-%m-%d %H:%M}Z  "
        f"{' '.join(map(str, one.grants))}"
        for one in found
    ]
    value = [
        {
            "name": one.name,
            "grants": [str(grant) for grant in one.grants],
            "created": one.created.isoformat(),
            "expires": one.expires.isoformat(),
            "isOver": one.is_over(now),
        }
        for one in found
    ]
    Console(as_json=as_json).result("RegistryTokens", {"robots": value}, "\n".join(lines) or "no robots")


@token.command()
@click.argument("name")
@store_option
@access_option
@json_option
def revoke(*, name: str, store: Path | None, access: Path | None, as_json: bool) -> None:
    """Take the robot NAME away, and every token that it was given."""
    from registry.server.users import ROBOT  # noqa: PLC0415 - as above

    full = ROBOT + name.removeprefix(ROBOT)
    with _robots(store, access) as (folder, robots):
        if not robots.find(full):
            raise UsageError("robot-unknown", "there is no such robot", where=full, hint="dryport registry token list")
        _save(folder, robots.without(full), "token.revoke", full)
    Console(as_json=as_json).result("RegistryTokenRevoked", {"name": full}, f"{full}: revoked")


@token.command()
@click.argument("name")
@store_option
@access_option
@json_option
def void(*, name: str, store: Path | None, access: Path | None, as_json: bool) -> None:
    """End every token and session that NAME was given up to now. Who has the password gets new ones."""
    from registry.oci import strictjson  # noqa: PLC0415 - as above
    from registry.server.accounts import VOID, read_void  # noqa: PLC0415
    from registry.store import durable  # noqa: PLC0415

    with _folder(store, access) as folder:
        now = int(time.time()) + 1  # what is given out in this very second ends too
        durable.replace(folder / VOID, strictjson.canonical(read_void(folder / VOID) | {name: now}))
        _note(folder, "token.void", name)
    Console(as_json=as_json).result("RegistryTokensVoid", {"name": name, "before": now}, f"{name}: tokens are void")


@click.group(cls=Verbs)
def audit() -> None:
    """Tell who changed what, and who was turned away."""


@audit.command()
@click.option("--head", metavar="NUMBER:DIGEST", help="A head noted earlier; it must still be in the log.")
@store_option
@access_option
@json_option
def verify(*, head: str | None, store: Path | None, access: Path | None, as_json: bool) -> None:
    """Check the chain of the whole log and print its head. Note the head elsewhere: it proves the log's end."""
    from registry.server.audit import AUDIT, Head  # noqa: PLC0415 - as above
    from registry.server.audit import verify as check  # noqa: PLC0415

    try:
        known = Head.parse(head) if head else None
    except ValueError as error:
        raise UsageError(
            "head-malformed",
            str(error),
            expected="NUMBER:DIGEST",
            hint="give a head that verify printed before",
        ) from error
    with _folder(store, access) as folder:
        found = check(folder / AUDIT, known)
    value = {"lines": found.sequence, "head": str(found)}
    Console(as_json=as_json).result("RegistryAudit", value, f"{found.sequence} lines, every one follows\nhead {found}")


@audit.command()
@click.option(
    "--last", type=click.IntRange(1, 100_000), metavar="N", default=50, show_default=True, help="How many lines."
)
@click.option("--event", metavar="EVENT", help="Only these, as manifest.put or login.refused.")
@click.option("--user", metavar="NAME", help="Only what this one did.")
@store_option
@access_option
@json_option
def show(
    *, last: int, event: str | None, user: str | None, store: Path | None, access: Path | None, as_json: bool
) -> None:
    """Print the last lines, the chain checked on the way."""
    from collections import deque  # noqa: PLC0415

    from registry.server.audit import AUDIT, entries  # noqa: PLC0415 - as above

    with _folder(store, access) as folder:
        wanted = (
            one
            for one in entries(folder / AUDIT)
            if event in (None, one.get("event")) and user in (None, one.get("user"))
        )
        found = list(deque(wanted, last))
    text = "\n".join(
        "  ".join(str(one.get(name, "")) for name in ("time", "event", "user", "address", "repository", "reference"))
        for one in found
    )
    Console(as_json=as_json).result("RegistryAuditLines", {"lines": found}, text or "no lines")


@contextmanager
def _robots(store: Path | None, access: Path | None) -> Iterator[tuple[Path, Robots]]:
    from registry.server.accounts import ROBOTS  # noqa: PLC0415 - as above
    from registry.server.robots import Robots  # noqa: PLC0415

    with _folder(store, access) as folder:
        yield folder, Robots.load(folder / ROBOTS)


def _refuse_known(robots: Robots, name: str) -> None:
    if robots.find(name):
        raise UsageError(
            "robot-exists", "there is a robot of this name", where=name, hint="dryport registry token revoke"
        )


def _save(folder: Path, robots: Robots, event: str, name: str, grants: str = "") -> None:
    from registry.server.accounts import ROBOTS  # noqa: PLC0415 - as above
    from registry.store import durable  # noqa: PLC0415

    durable.replace(folder / ROBOTS, robots.as_file())
    _note(folder, event, name, grants=grants)


def note_upkeep(store: Path, event: str, **details: int) -> None:
    """Note what a command did to a store in the audit log of the registry that serves it, where it has one."""
    if (store / "access/audit").is_dir():
        with _folder(store, None) as folder:
            _note(folder, event, "", **details)


def _note(folder: Path, event: str, name: str, **details: str | int) -> None:
    from registry.server.audit import open_audit  # noqa: PLC0415 - as above

    log = open_audit(folder)
    log.note(event, user=f"local:{_who()}", reference=name, **details)
    log.flush()


def _who() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@contextmanager
def _folder(store: Path | None, access: Path | None) -> Iterator[Path]:
    """Give the access folder, made if it is not there, and be its owner meanwhile. Raises UsageError, SiteError."""
    from registry.server.accounts import prepare  # noqa: PLC0415 - as above
    from registry.store import durable  # noqa: PLC0415

    if (store is None) == (access is None):
        raise UsageError("access-unnamed", "one of two is named: the store, or its access folder", hint="--store DIR")
    if store is not None and not store.is_dir():
        raise SiteError(
            "store-missing", "there is no store", where=str(store), hint="dryport registry serve --store DIR"
        )
    folder = access or (store or Path()) / "access"  # where it is if a configuration says nothing else
    owner = (folder if folder.exists() else folder.parent).stat() if folder.parent.exists() else None
    is_other = owner is not None and os.geteuid() == 0 and owner.st_uid != 0
    try:
        if owner and is_other:
            os.setegid(owner.st_gid)
            os.seteuid(owner.st_uid)
        prepare(folder)
        with durable.changing(folder):
            yield folder
    except OSError as error:
        raise SiteError(
            "access-folder-unusable",
            "the access folder cannot be read or written",
            where=str(folder),
            seen=str(error),
            hint="run as root, or as the user that the registry runs as",
        ) from error
    finally:
        if is_other:
            os.seteuid(0)
            os.setegid(0)
