"""`dryport kit`: build and sign the program for a machine without internet."""

from __future__ import annotations

from pathlib import Path

import click

from installer.cli.key import passphrase_option, secret_from, signer_option
from installer.cli.render import Console, Verbs, amount, json_option, typed


@click.group(cls=Verbs)
def kit() -> None:
    """Build and sign the program for a machine without internet."""


@kit.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the kit.")
@click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Checkout of dryport to build from.  [default: the current folder]",
)
@click.option(
    "--platform", metavar="OS/ARCH", default="linux/amd64", show_default=True, help="Machine that will run it."
)
@json_option
def build(out: Path, project: Path, platform: str, as_json: bool) -> None:
    """Build the kit: one tar that needs Python 3.11 and nothing else. The same checkout gives the same bytes."""
    from bundles.kit import build_kit  # noqa: PLC0415 - `--help` need not wait for it

    console = Console(as_json=as_json)
    made = build_kit(project, out, console, platform=platform)
    value = {
        "path": str(made.path),
        "version": made.version,
        "platform": made.platform,
        "size": made.size,
        "digest": str(made.digest),
    }
    sign_it = typed("dryport", "kit", "sign", made.path, "--key", "KEY.pem")
    console.result("Kit", value, f"{made.path}\n  {amount(made.size)}, {made.digest}\nnext: {sign_it}")


@kit.command()
@click.argument("kit_file", metavar="KIT", type=click.Path(path_type=Path, dir_okay=False))
@signer_option
@passphrase_option
@json_option
def sign(kit_file: Path, signer: str, passphrase_file: Path | None, as_json: bool) -> None:
    """Sign KIT, so that openssl alone can check it. Writes KIT.sig beside it."""
    from bundles.kit import sign_kit  # noqa: PLC0415 - as above
    from bundles.trust.signers import open_signer  # noqa: PLC0415

    signature = sign_kit(kit_file, open_signer(signer, secret_from(passphrase_file)))
    check_it = typed("openssl", "dgst", "-sha256", "-verify", "KEY.pub", "-signature", signature, kit_file)
    text = f"{signature}\ncheck: {check_it}"
    Console(as_json=as_json).result("KitSignature", {"path": str(signature), "kit": str(kit_file)}, text)
