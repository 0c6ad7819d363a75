"""`dryport key`: keys, and the root ceremony that two or three people hold on machines of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from installer.cli.render import Console, Verbs, json_option, typed
from registry.errors import UsageError

if TYPE_CHECKING:
    from bundles.trust.roles import Ceremony, Signing

FILE = click.Path(path_type=Path, dir_okay=False)
NEW = {"type": FILE, "multiple": True}
KEYS = {**NEW, "required": True}
passphrase_option = click.option("--passphrase-file", type=FILE, help="File whose first line is the passphrase.")
signer_option = click.option(
    "--key",
    "signer",
    metavar="FILE|URI",
    required=True,
    help="Private key: a PEM file, or a URI such as file:KEY.pem.",
)
previous_option = click.option(
    "--previous",
    type=FILE,
    help="The root before it, whose keys have to sign as well; else the one that lies beside it.",
)
expires_option = click.option(
    "--expires",
    "days",
    type=click.IntRange(1, 36_500),
    metavar="DAYS",
    required=True,
    help="Days until the root expires.",
)
next_option = click.option(
    "--out", type=FILE, required=True, help="Where the unsigned root goes, usually 2.root.json beside the first."
)


@click.group(cls=Verbs)
def key() -> None:
    """Make keys, and hold the root ceremony."""


@key.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for both files.")
@passphrase_option
@json_option
def new(name: str, out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a key: NAME.pem to keep, NAME.pub to hand on."""
    from bundles.trust.keys import generate  # noqa: PLC0415 - `--help` need not wait for cryptography

    secret = secret_from(passphrase_file)
    with _writing(out):
        made = generate(name, out, secret() if passphrase_file and secret else None)
    private, public = out / f"{name}.pem", out / f"{name}.pub"
    value = {"name": name, "keyId": made.key.keyid, "private": str(private), "public": str(public)}
    text = f"{private}  keep it: nobody else ever needs it\n{public}  hand it on\nkey id {made.key.keyid}"
    Console(as_json=as_json).result("Key", value, text)


@key.command()
@click.option("--root", "root_keys", **KEYS, help="Public key of one who answers for the root; once for each.")  # type: ignore[arg-type]
@click.option(
    "--threshold", type=click.IntRange(1), metavar="N", default=2, show_default=True, help="How many of them must sign."
)
@click.option("--release", "release_keys", **KEYS, help="Public key that signs releases; once for each.")  # type: ignore[arg-type]
@click.option(
    "--release-threshold",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    show_default=True,
    help="How many of them must sign.",
)
@expires_option
@click.option("--out", type=FILE, required=True, help="Where the unsigned root goes, usually 1.root.json.")
@json_option
def init(
    *,
    root_keys: tuple[Path, ...],
    threshold: int,
    release_keys: tuple[Path, ...],
    release_threshold: int,
    days: int,
    out: Path,
    as_json: bool,
) -> None:
    """Write the first root: who may sign what. It counts when enough of its keys have signed it."""
    from bundles.trust.keys import read_public  # noqa: PLC0415 - as above
    from bundles.trust.roles import new_root  # noqa: PLC0415

    roots, releases = ([read_public(path) for path in paths] for paths in (root_keys, release_keys))
    _create(new_root(roots, threshold, releases, release_threshold, _after(days)), out, None, as_json=as_json)


@key.command()
@click.argument("root", type=FILE)
@click.option("--root", "root_keys", **NEW, help="Public key of the new root role, which replaces it; once for each.")  # type: ignore[arg-type]
@click.option("--threshold", type=click.IntRange(1), metavar="N", help="How many of them must sign; else as before.")
@click.option("--release", "release_keys", **NEW, help="Public key of the new release role; once for each.")  # type: ignore[arg-type]
@click.option("--release-threshold", type=click.IntRange(1), metavar="N", help="How many of them; else as before.")
@expires_option
@next_option
@json_option
def rotate(
    *,
    root: Path,
    root_keys: tuple[Path, ...],
    threshold: int | None,
    release_keys: tuple[Path, ...],
    release_threshold: int | None,
    days: int,
    out: Path,
    as_json: bool,
) -> None:
    """Write the root after ROOT. A role whose keys are not given keeps them; enough keys of both roots must sign it.

    Example: dryport key rotate roots/1.root.json --release new.pub --expires 3650 --out roots/2.root.json
    """
    from bundles.trust.keys import read_public  # noqa: PLC0415 - as above
    from bundles.trust.succession import next_root  # noqa: PLC0415

    previous = _read(root)
    roots, releases = ([read_public(path) for path in paths] for paths in (root_keys, release_keys))
    made = next_root(
        previous,
        _after(days),
        root_keys=roots,
        threshold=threshold,
        release_keys=releases,
        release_threshold=release_threshold,
    )
    _create(made, out, previous, as_json=as_json)


@key.command()
@click.argument("root", type=FILE)
@click.argument("revoked", metavar="NAME|ID...", nargs=-1, required=True)
@click.option("--root", "root_keys", **NEW, help="Public key to add to the root role; once for each.")  # type: ignore[arg-type]
@click.option("--release", "release_keys", **NEW, help="Public key to add to the release role; once for each.")  # type: ignore[arg-type]
@expires_option
@next_option
@json_option
def revoke(
    *,
    root: Path,
    revoked: tuple[str, ...],
    root_keys: tuple[Path, ...],
    release_keys: tuple[Path, ...],
    days: int,
    out: Path,
    as_json: bool,
) -> None:
    """Write the root after ROOT without the keys named. Sites refuse them as soon as they read it in any bundle.

    Example: dryport key revoke roots/1.root.json release --release new.pub --expires 3650 --out roots/2.root.json
    """
    from bundles.trust.keys import read_public  # noqa: PLC0415 - as above
    from bundles.trust.succession import revoking_root  # noqa: PLC0415

    previous = _read(root)
    roots, releases = ([read_public(path) for path in paths] for paths in (root_keys, release_keys))
    made = revoking_root(previous, _after(days), revoked, root_keys=roots, release_keys=releases)
    _create(made, out, previous, as_json=as_json)


@key.command("sign-root")
@click.argument("root", type=FILE)
@signer_option
@passphrase_option
@previous_option
@json_option
def sign_root(root: Path, signer: str, passphrase_file: Path | None, previous: Path | None, as_json: bool) -> None:
    """Add one signature to ROOT. Then hand the file to the next person; a key counts once, however often it signs."""
    from bundles.trust import roles  # noqa: PLC0415 - as above
    from bundles.trust.signers import open_signer  # noqa: PLC0415
    from registry.store import durable  # noqa: PLC0415

    before = _read(root)
    forerunner = _forerunner(root, before, previous)
    after = roles.sign_root(before, open_signer(signer, secret_from(passphrase_file)), forerunner)
    if after == before:
        Console(as_json=as_json).note("this key had signed already; nothing was changed")
    else:
        with _writing(root):
            durable.replace(root, after)
    _print(roles.ceremony(after, forerunner), root, as_json=as_json)


@key.command()
@click.argument("root", type=FILE)
@previous_option
@json_option
def show(root: Path, previous: Path | None, as_json: bool) -> None:
    """Print what ROOT says, who has signed it, and who is missing."""
    from bundles.trust.roles import ceremony  # noqa: PLC0415 - as above

    data = _read(root)
    _print(ceremony(data, _forerunner(root, data, previous)), root, as_json=as_json)


def _after(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def _create(made: bytes, out: Path, previous: bytes | None, *, as_json: bool) -> None:
    from bundles.trust.roles import ceremony  # noqa: PLC0415 - as above
    from registry.store import durable  # noqa: PLC0415

    if out.exists():
        hint = f"go on with it: {typed('dryport', 'key', 'show', out)}; or choose another name"
        raise UsageError("root-exists", "a root is never overwritten", where=str(out), hint=hint)
    with _writing(out):
        durable.make_folder(out.parent)
        durable.create(out, made, 0o644)
    _print(ceremony(made, previous), out, as_json=as_json)


def _forerunner(path: Path, root: bytes, given: Path | None) -> bytes | None:
    """Return the root before `root`: the one that was given, else the one that lies beside it, else None."""
    from bundles.trust.roles import ceremony  # noqa: PLC0415 - as above

    if given is not None:
        return _read(given)
    beside = path.with_name(f"{ceremony(root).version - 1}.root.json")
    return _read(beside) if beside.is_file() else None


def secret_from(file: Path | None) -> Callable[[], bytes] | None:
    """Return how to ask for a passphrase: from a file, else at the terminal, else not at all."""
    if file is not None:
        return lambda: _first_line(file)
    if sys.stdin.isatty():
        return lambda: str(click.prompt("passphrase", hide_input=True, err=True)).encode()
    return None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "choose a folder that you can write to, with room in it"
        where = str(error.filename or path)
        raise UsageError("file-unwritable", error.strerror or str(error), where=where, hint=hint) from error


def _first_line(file: Path) -> bytes:
    line = _read(file).split(b"\n", 1)[0].rstrip(b"\r")
    if not line:
        raise UsageError(
            "passphrase-empty",
            "the first line of the passphrase file is empty",
            where=str(file),
            hint="write the passphrase into its first line",
        )
    return line


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1 << 20)  # more than the largest root, so that a larger one is refused as such
    except OSError as error:
        raise UsageError(
            "file-unreadable", error.strerror or str(error), where=str(path), hint="give a file that this user can read"
        ) from error


def _print(seen: Ceremony, path: Path, *, as_json: bool) -> None:
    value = {
        "path": str(path),
        "version": seen.version,
        "fingerprint": str(seen.fingerprint),
        "expires": seen.expires.isoformat(),
        "complete": seen.is_complete,
        "signatures": [_signing(one) for one in seen.signings],
        "roles": [{"role": one.role, "threshold": one.threshold, "keyIds": list(one.keys)} for one in seen.roles],
    }
    Console(as_json=as_json).result("Root", value, "\n".join(_lines(seen, path)))


def _signing(one: Signing) -> dict[str, Any]:
    value = {"role": one.role, "threshold": one.threshold, "missing": one.missing}
    keys = [{"keyId": keyid, "label": label, "signed": keyid in one.signed} for keyid, label in one.keys.items()]
    return {**value, "keys": keys}


def _lines(seen: Ceremony, path: Path) -> Iterator[str]:
    yield f"root {seen.version}, expires {seen.expires:%Y-%m-%d}, {'complete' if seen.is_complete else 'NOT COMPLETE'}"
    yield f"fingerprint  {seen.fingerprint}"
    for one in seen.signings:
        yield f"keys of {one.role}: {one.threshold} of {len(one.keys)} must sign it, {one.missing} missing"
        for keyid, label in one.keys.items():
            yield f"  {'signed    ' if keyid in one.signed else 'not signed'}  {label}"
    for one in seen.roles:
        yield f"{one.role}: {one.threshold} of {', '.join(one.keys.values())}"
    if seen.is_complete:
        yield "next: write the fingerprint on paper; it reaches every site by another way than the bundle"
    elif seen.lacks_previous:
        yield f"its keys say nothing without root {seen.version - 1}, whose keys have to sign it as well"
        yield f"next: {typed('dryport', 'key', 'show', path)} --previous {seen.version - 1}.root.json"
    else:
        yield f"next: {typed('dryport', 'key', 'sign-root', path)} --key KEY.pem"
