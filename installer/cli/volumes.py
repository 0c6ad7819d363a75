"""`dryport bundle split`, and the options about volumes that other commands take."""

from __future__ import annotations

from pathlib import Path

import click

from installer.cli.render import Console, json_option, typed

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
volume_size_option = click.option(
    "--volume-size", metavar="SIZE", help="Cut it into files of at most so much: fat32, dvd, dvd-dl, bluray or 8GB."
)
volume_dirs_option = click.option(
    "--volume-dir", "folders", type=FOLDER, multiple=True, help="Folder with more of its volumes; once for each."
)


def volume_bytes(text: str | None) -> int | None:
    """Return what --volume-size says, None if it was not given. Raises UsageError."""
    if not text:
        return None
    from bundles.archive import volumes  # noqa: PLC0415 - most commands need none of it

    return volumes.volume_bytes(text)


@click.command()
@click.argument("path", metavar="BUNDLE", type=FILE)
@click.option("--volume-size", required=True, metavar="SIZE", help="fat32, dvd, dvd-dl, bluray or 8GB.")
@click.option("--out-dir", type=FOLDER, required=True, help="Where the volumes go.")
@volume_dirs_option
@json_option
def split(path: Path, volume_size: str, out_dir: Path, folders: tuple[Path, ...], as_json: bool) -> None:
    """Cut BUNDLE into files that a medium takes. They are read where they lie, and never joined again."""
    from bundles.archive import split as splitting  # noqa: PLC0415 - as above
    from bundles.archive import volumes  # noqa: PLC0415

    console = Console(as_json=as_json)
    size = volumes.volume_bytes(volume_size)
    made = splitting.split(path, out_dir, size, console, folders=folders)
    lines = [f"{len(made)} volume(s):", *(f"  {one}" for one in made)]
    lines.append(f"next: {typed('dryport', 'bundle', 'verify', made[0])} --home DIR")
    console.result("BundleSplit", {"path": str(path), "volumes": [str(one) for one in made]}, "\n".join(lines))
