"""`dryport bundle delta`: a release without what its site has already."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from installer.cli.render import Console, amount, json_option, typed
from installer.cli.trusting import Trust, trust_options
from installer.cli.volumes import volume_bytes, volume_size_option
from registry.errors import UsageError
from registry.oci.digest import Digest

if TYPE_CHECKING:
    from bundles.archive.delta import Base
    from bundles.archive.reader import Archive
    from bundles.trust.verify import TrustState

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("path", metavar="BUNDLE", type=FILE)
@click.option(
    "--against", type=FILE, required=True, help="The site's inventory, or the bundle of a release that it has."
)
@click.option("--site-key", type=FILE, help="Public key of the site that signed the inventory.")
@click.option("--out", type=FILE, required=True, help="The delta to make.")
@volume_size_option
@trust_options
@json_option
def delta(
    *,
    path: Path,
    against: Path,
    site_key: Path | None,
    out: Path,
    volume_size: str | None,
    trust: Trust,
    as_json: bool,
) -> None:
    """Make of the signed BUNDLE one without what a site has. It has to be signed, with the bundle's own sequence.

    The site looks whether the rest is there before it takes anything.
    """
    from bundles import delta as deltas  # noqa: PLC0415 - `--help` need not wait for it
    from bundles.verify import verify  # noqa: PLC0415

    state = trust.state()
    if state is None:
        raise UsageError(
            "trust-missing",
            "a delta is made from what somebody trusted signed",
            hint="give --root 1.root.json with --fingerprint sha256:..., or --home DIR",
        )
    console = Console(as_json=as_json)
    with closing(verify(path, state, now=datetime.now(UTC))) as full:
        base, holds = _base(against, site_key, full.archive, state)
        report = deltas.make(full.archive, base, holds, out, console, volume_bytes=volume_bytes(volume_size))
        release = full.release
    day = f"{release.best_before:%Y-%m-%d}"
    sign_it = f"--root DIR --key KEY.pem --sequence {release.sequence} --best-before {day}"
    value = {
        "path": str(out),
        "product": release.product,
        "version": release.version,
        "sequence": release.sequence,
        "index": str(release.index),
        "base": base.model_dump(),
        "size": report.size,
        "carried": report.carried,
        "leftOut": report.left_out,
        "leftOutBlobs": report.count,
    }
    text = (
        f"{out}: {release.product} {release.version}, for {base.name}\n"
        f"  {amount(report.size)}; {report.count} blobs of {amount(report.left_out)} are left out\n"
        f"next: {typed('dryport', 'bundle', 'sign', out)} {sign_it}"
    )
    console.result("BundleDelta", value, text)


def _base(path: Path, site_key: Path | None, full: Archive, state: TrustState) -> tuple[Base, Callable[[Digest], bool]]:
    """Return what is named as there already. Raises UsageError, TrustError, MediaError."""
    from bundles.archive.delta import Base  # noqa: PLC0415 - as above
    from bundles.inventory import INVENTORY_BYTES, Inventory  # noqa: PLC0415
    from bundles.trust.keys import read_public  # noqa: PLC0415
    from bundles.verify import look  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            data = file.read(1)
            data += file.read(INVENTORY_BYTES) if data == b"{" else b""
    except OSError as error:
        hint = "give an inventory or a bundle: --against FILE"
        raise UsageError("file-unreadable", str(error.strerror), where=str(path), hint=hint) from error
    if data[:1] == b"{":
        if site_key is None:
            raise UsageError(
                "site-key-missing",
                "an inventory is believed when the site signed it",
                where=str(path),
                hint="give the key that `dryport site inventory` named: --site-key site.pub",
            )
        found = Inventory.read(data, read_public(site_key).key)
        base = Base(kind="Inventory", name=found.title, digest=str(Digest.of(data)))
        return base, found.holder(entry.digest for entry in full.table.members)
    with closing(look(path, state, now=datetime.now(UTC))) as seen:
        release = seen.release
        if release is None:
            raise RuntimeError("somebody was trusted, and no release was told")
        held = {entry.digest for entry in seen.archive.table.members}
        name = f"{release.product} {release.version}, sequence {release.sequence}"
        return Base(kind="Release", name=name, digest=str(release.index)), held.__contains__
