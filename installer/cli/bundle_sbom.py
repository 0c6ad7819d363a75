"""`dryport bundle sbom`: the bill of materials of a bundle or lock, as CycloneDX."""

from __future__ import annotations

from pathlib import Path

import click

from installer.cli.bundle_diff import read_lock
from installer.cli.render import Console, json_option
from installer.cli.trusting import Trust, trust_options

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("path", metavar="BUNDLE|LOCK.json", type=FILE)
@click.option("--out", type=FILE, help="Write it here, and not to the terminal.")
@trust_options
@json_option
def sbom(*, path: Path, out: Path | None, trust: Trust, as_json: bool) -> None:
    """Print BUNDLE's bill of materials (CycloneDX 1.6).

    It follows from the lock that the bundle carries, or is given. Without trust given, nothing of it is verified.

    Example: dryport bundle sbom quickstart.tar --out quickstart.cdx.json
    """
    from bundles.sbom import bill  # noqa: PLC0415 - `--help` need not wait for it
    from registry.oci import strictjson  # noqa: PLC0415
    from registry.store import durable  # noqa: PLC0415

    console = Console(as_json=as_json)
    document = bill(read_lock(path, trust, console))
    if out is None:
        value = {"sbom": strictjson.loads(document, limit=len(document))}
        console.result("BundleSbom", value, document.decode().rstrip("\n"))
        return
    durable.replace(out, document)
    console.result("BundleSbom", {"path": str(out), "bytes": len(document)}, f"{out}\n  CycloneDX 1.6")
