"""`dryport site inventory`: what a site holds, signed by it, for whoever makes its next delta."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from installer.cli.render import Console, json_option, typed

KEY = "site"
"""Name of the key by which a site signs what it says; made when it first says something."""


@click.command()
@click.argument("site_file", metavar="SITE.YAML", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="The registry's store.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="The site's home folder.")
@json_option
def inventory(*, site_file: Path, store: Path, out: Path, home: Path | None, as_json: bool) -> None:
    """Tell what the site's store holds, signed by the site. Take it to where bundles are made."""
    from bundles.inventory import Inventory  # noqa: PLC0415 - `--help` need not wait for it
    from bundles.trust import keys, memory  # noqa: PLC0415
    from bundles.trust.signers import open_signer  # noqa: PLC0415
    from installer.cli.site import open_site  # noqa: PLC0415
    from registry.store import durable  # noqa: PLC0415
    from registry.store.store import Store  # noqa: PLC0415

    declared, opened = open_site(site_file, home)
    folder = opened.path / "keys"
    with opened.locked():
        if not (folder / f"{KEY}.pub").exists():
            keys.generate(KEY, folder)
        remembered = memory.load(opened.trust)
    accepted = remembered.accepted if remembered else {}
    releases = [(product, sequence, index) for product, (sequence, index) in accepted.items()]
    with Store.open(store) as held:
        found = Inventory.of(declared.site.name, datetime.now(UTC), releases, held.blobs())
    data = found.sign(open_signer(str(folder / f"{KEY}.pem")))
    durable.replace(out, data, 0o644)
    public = folder / f"{KEY}.pub"
    value = {
        "path": str(out),
        "site": declared.site.name,
        "blobs": found.count,
        "size": len(data),
        "key": str(public),
        "releases": [one.model_dump() for one in found.releases],
    }
    make_it = f"{typed('dryport', 'bundle', 'delta')} BUNDLE.tar --against {out.name} --site-key {public.name} ..."
    text = (
        f"{out}: {found.count} blobs, {len(data)} bytes, signed by {public}\n"
        f"next, where bundles are made, with {public.name} brought there once: {make_it}"
    )
    Console(as_json=as_json).result("SiteInventory", value, text)
