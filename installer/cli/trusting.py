"""Whom a command trusts: a site's memory in its home, or a first root with the fingerprint a person was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry.errors import TrustError, UsageError
from registry.oci.digest import Digest

if TYPE_CHECKING:
    from bundles.trust.verify import TrustState

MEMORY = "trust.json"


@dataclass(frozen=True, slots=True)
class Trust:
    """What a person said of whom to trust; `state` makes something of it."""

    home: Path | None = None
    root: Path | None = None
    fingerprint: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether any of the options was used."""
        return any(part is not None for part in astuple(self))

    def state(self) -> TrustState | None:
        """Return the trust that is named, None without any. Raises UsageError, TrustError."""
        match self:
            case Trust(None, None, None):
                return None
            case Trust(Path() as home, None, None):
                return _remembered(home)
            case Trust(None, Path() as root, str() as fingerprint):
                return _begun(root, fingerprint)
        raise UsageError(
            "trust-ambiguous", "give either --home, or --root together with --fingerprint", hint="leave out one of both"
        )


def trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --home, --root and --fingerprint to a command, which gets them as one `trust`."""

    @wraps(command)
    def run(*, home: Path | None, root: Path | None, fingerprint: str | None, **others: object) -> object:
        return command(trust=Trust(home, root, fingerprint), **others)

    folder, file = click.Path(path_type=Path, file_okay=False), click.Path(path_type=Path, dir_okay=False)
    for option in (
        click.option(
            "--fingerprint",
            metavar="sha256:...",
            help="The root's fingerprint, from a channel other than the bundle.",
        ),
        click.option("--root", type=file, help="The first root, 1.root.json; needs --fingerprint."),
        click.option("--home", type=folder, help="A site's home: judge by what that site trusts and remembers."),
    ):
        run = option(run)
    return run


def _remembered(home: Path) -> TrustState:
    from bundles.trust import memory  # noqa: PLC0415 - `--help` need not wait for cryptography

    state = memory.load(home / MEMORY)
    if state is None and (home / "site.json").exists():
        from installer.site.home import Home  # noqa: PLC0415 - as above
        from installer.site.memory import remembered  # noqa: PLC0415

        return remembered(Home.open(home))  # raises: what a site lost is no fresh start
    if state is None:
        raise TrustError(
            "trust-not-begun",
            "this home trusts nobody yet",
            where=str(home / MEMORY),
            hint="dryport site trust SITE.yaml --root 1.root.json --fingerprint sha256:...",
        )
    return state


def _begun(root: Path, fingerprint: str) -> TrustState:
    from bundles.trust.verify import TrustState  # noqa: PLC0415 - as above

    try:
        with root.open("rb") as file:
            data = file.read(1 << 20)  # more than the largest root, so that a larger one is refused as such
        digest = Digest.parse(fingerprint)
    except OSError as error:
        raise UsageError(
            "file-unreadable",
            error.strerror or str(error),
            where=str(root),
            hint="give the root file that this user can read: --root 1.root.json",
        ) from error
    except ValueError as error:
        raise UsageError(
            "fingerprint-malformed",
            str(error),
            expected="sha256:<64 hex digits>",
            hint="copy it from the paper: --fingerprint sha256:...",
        ) from error
    return TrustState.begin(data, digest)
