"""`dryport mirror config`: a runtime's configuration from one mapping, and the proof that a node pulls through it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from installer.cli.connecting import login_options, read_password
from installer.cli.proving import Proof, proof_options, show_proof
from installer.cli.render import Console, json_option, typed
from installer.cli.trusting import trust_options
from registry.errors import SiteError, UsageError
from registry.mirror.runtimes import RUNTIMES

if TYPE_CHECKING:
    from registry.mirror.mapping import Mapping
    from registry.mirror.runtimes.files import Access, Configuration

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
PLACES = "HOST[:PORT][/BASE]"


@click.command()
@click.argument("runtime", type=click.Choice(RUNTIMES))
@click.option("--mirrors", "declaration", type=FILE, help="The mapping, a YAML file; see docs/runtimes.md.")
@click.option("--mirror", "mirrors", multiple=True, metavar=PLACES, help="Instead: a mirror; once for each, in order.")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="HOST[/PATH][=PLACE]",
    help="A registry whose content they hold; once for each.",
)
@click.option("--direct", multiple=True, metavar="HOST", help="A registry of the site itself; once for each.")
@click.option("--manifests", multiple=True, type=FILE, help="Manifests whose sources flux or argocd reads; once each.")
@click.option("--out", type=FOLDER, help="Folder for the files: they lie in it as below a node's root.")
@click.option("--dry-run", is_flag=True, help="Print the files, without the password, and write nothing.")
@login_options
@proof_options
@trust_options
@json_option
def config(
    *,
    runtime: str,
    declaration: Path | None,
    mirrors: tuple[str, ...],
    origins: tuple[str, ...],
    direct: tuple[str, ...],
    manifests: tuple[Path, ...],
    out: Path | None,
    dry_run: bool,
    ca: Path | None,
    user: str | None,
    password_file: Path | None,
    as_json: bool,
    **proof: Any,  # noqa: ANN401 - the options of Proof
) -> None:
    """Write what RUNTIME needs to pull from the mirrors by original names.

    \b
    dryport mirror config podman --mirror registry.site.example:5000
        --origin docker.io --origin ghcr.io --ca ca.pem --out node

    With --prove, pull every image through the node's configuration, or through the one in --out; nothing is kept.
    """  # noqa: D301 - click reads the \b
    from registry.mirror import configure  # noqa: PLC0415 - `--help` need not wait for it

    console = Console(as_json=as_json)
    wanted = Proof(**proof, ca=ca, user=user, password_file=password_file)
    if dry_run if out or wanted.is_wanted else not dry_run:
        raise UsageError(
            "out-missing",
            "say where the files go, or that they are only to be seen",
            hint="--out DIR; or --dry-run, which goes with neither --out nor --prove",
        )
    mapping = _mapping(declaration, mirrors, origins, direct)
    access = _access(ca, user, password_file, is_shown=dry_run)
    objects = [one for path in manifests for one in _objects(path)]
    made = configure.configuration(runtime, mapping, access, objects)
    if out is not None:
        _write(made, out)
    if wanted.is_wanted:
        show_proof(console, wanted, runtime, mapping, out)
        return
    _show(console, runtime, made, out)


def _mapping(
    declaration: Path | None, mirrors: tuple[str, ...], origins: tuple[str, ...], direct: tuple[str, ...]
) -> Mapping:
    from registry.mirror import declared  # noqa: PLC0415 - as above

    if (declaration is not None) == bool(mirrors or origins or direct):
        raise UsageError(
            "mapping-missing",
            "say where what lies, in one way",
            hint="--mirrors FILE, or --mirror HOST:PORT with --origin docker.io",
        )
    if declaration is not None:
        return declared.read(declaration)
    try:
        return declared.of(mirrors, origins, direct)
    except ValueError as error:
        raise UsageError(
            "mapping-malformed",
            str(error),
            expected=f"--mirror {PLACES} and --origin HOST[/PATH][=PLACE]",
            hint="--mirror registry.site.example:5000 --origin docker.io",
        ) from error


def _access(ca: Path | None, user: str | None, password_file: Path | None, *, is_shown: bool) -> Access:
    from registry.mirror.runtimes.files import Access, Login  # noqa: PLC0415 - as above

    if (user is None) != (password_file is None):
        raise UsageError("login-incomplete", "a user and a password file belong together", hint="give both, or none")
    login = None
    if user is not None and password_file is not None:
        password = read_password(password_file)
        login = Login(user, "***" if is_shown else password)
    return Access(_certificates(ca) if ca else "", login)


def _certificates(path: Path) -> str:
    """Return the certificates in a file, and nothing else that may be in it: nodes must not get a key."""
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(
            "ca-unreadable", str(error), where=str(path), hint="give the mirrors' CA in PEM form: --ca FILE"
        ) from error
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)


def _objects(path: Path) -> Sequence[dict[str, Any]]:
    from registry.declaration import load_all  # noqa: PLC0415 - as above

    try:
        return [one for one in load_all(path) if isinstance(one, dict)]
    except (OSError, ValueError) as error:
        raise UsageError(
            "manifests-unreadable", str(error), where=str(path), hint="give YAML manifests: --manifests FILE"
        ) from error


def _write(made: Configuration, out: Path) -> None:
    from registry.store import durable  # noqa: PLC0415 - as above

    for one in made.files:
        path = out / one.path
        try:
            durable.make_folder(path.parent)
            durable.replace(path, one.text.encode(), 0o600 if one.is_secret else 0o644)
        except OSError as error:
            raise SiteError(
                "config-unwritable",
                "the configuration cannot be written",
                where=str(path),
                seen=error.strerror or str(error),
                hint="name another place: --out DIR",
            ) from error


def _show(console: Console, runtime: str, made: Configuration, out: Path | None) -> None:
    files = [
        {"path": one.path, "mode": "0600" if one.is_secret else "0644"} | ({} if out else {"text": one.text})
        for one in made.files
    ]
    value = {"runtime": runtime, "out": str(out) if out else "", "files": files, "notes": list(made.notes)}
    lines = []
    for one in made.files:
        mode = "  (0600: it holds the password)" if one.is_secret else ""
        lines += [f"{out / one.path}{mode}"] if out else [f"==> /{one.path}{mode}", one.text]
    lines += ["", *made.notes]
    if out:
        lines.append(f"next: copy what is below {typed(out)} to the node, with its modes")
    console.result("MirrorConfig", value, "\n".join(lines))
