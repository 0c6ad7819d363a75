"""`dryport registry gc | retention | scrub | backup | restore | rebuild`: what keeps a store small, whole and safe.

All but `restore` and `rebuild` run beside a server that serves the same store.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from installer.cli.access import note_upkeep
from installer.cli.connecting import Reach, connection_options, refuse_mixed
from installer.cli.render import Console, amount, json_option
from installer.cli.trusting import Trust, trust_options
from registry.errors import MediaError, SiteError

if TYPE_CHECKING:
    from registry.content import ContentSource
    from registry.store.store import Store

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
HOUR = 3600.0
NAMED = 100
store_option = click.option("--store", "folder", type=FOLDER, required=True, help="The store's folder.")
dry_option = click.option("--dry-run", is_flag=True, help="Tell what would happen, and change nothing.")


@click.command()
@store_option
@click.option(
    "--lease", type=click.FloatRange(0), metavar="HOURS", default=1.0, show_default=True, help="Since the last look."
)
@click.option(
    "--grace", type=click.FloatRange(0), metavar="HOURS", default=1.0, show_default=True, help="Between mark and end."
)
@dry_option
@json_option
def gc(*, folder: Path, lease: float, grace: float, dry_run: bool, as_json: bool) -> None:
    """Free what nothing names any more, while the registry serves.

    It takes two runs: the first marks, and one after the grace frees. Less than an hour is for a store to which
    nobody pushes.
    """
    from registry.server.audit import COLLECT  # noqa: PLC0415 - `--help` need not wait for a database
    from registry.store.gc import collect  # noqa: PLC0415

    with _opened(folder) as store:
        done = collect(store, lease=lease * HOUR, grace=grace * HOUR, dry_run=dry_run)
    if not dry_run:
        note_upkeep(folder, COLLECT, freed=done.freed, marked=done.marked_bytes)
    would = "would be " if dry_run else ""
    garbage = f"{done.marked_manifests} manifests and {done.marked_blobs} blobs ({amount(done.marked_bytes)})"
    text = (
        f"{folder}: {amount(done.freed)} {would}freed ({done.removed} contents, {done.strays} strays)\n"
        f"  {garbage} {would}marked; a run after the grace frees them"
    )
    Console(as_json=as_json).result("RegistryCollected", {"store": str(folder), **done.as_json()}, text)


@click.command()
@store_option
@dry_option
@json_option
def retention(*, folder: Path, dry_run: bool, as_json: bool) -> None:
    """Take away the tags that the store's policy does not keep. `gc` frees what only they named."""
    from registry.server.audit import RETAIN  # noqa: PLC0415 - as above
    from registry.store.retention import retain  # noqa: PLC0415

    with _opened(folder) as store:
        found = retain(store, dry_run=dry_run)
    if found and not dry_run:
        note_upkeep(folder, RETAIN, tags=len(found))
    lines = [f"{len(found)} tag(s) {'would go' if dry_run else 'gone'}"]
    lines += [f"  {one.repository}:{one.tag}  {one.digest}" for one in found]
    value = {"store": str(folder), "dryRun": dry_run, "tags": [one.as_json() for one in found]}
    Console(as_json=as_json).result("RegistryRetention", value, "\n".join(lines))


@click.command()
@store_option
@click.option("--bundle", type=FILE, help="Bundle to mend from.")
@click.option("--from", "url", metavar="URL", help="Registry to mend from, https://HOST:PORT.")
@click.option("--look-only", is_flag=True, help="Tell what is damaged, and change nothing.")
@connection_options
@trust_options
@json_option
def scrub(
    *,
    folder: Path,
    bundle: Path | None,
    url: str | None,
    look_only: bool,
    reach: Reach,
    trust: Trust,
    as_json: bool,
) -> None:
    """Read every byte of a store, and mend what is damaged. What cannot be mended is put aside."""
    from registry.store.scrub import scrub as run  # noqa: PLC0415 - as above

    console = Console(as_json=as_json)
    refuse_mixed(reach, trust, registry=url is not None, bundle=bundle is not None)
    with ExitStack() as stack:
        sources: list[ContentSource] = []
        if bundle:
            from installer.cli.serving import open_bundle  # noqa: PLC0415 - as above

            verified = open_bundle(bundle, trust)
            stack.callback(verified.close)
            sources.append(verified.content())
        if url:
            sources.append(stack.enter_context(reach.registry(url)))
        seen = run(stack.enter_context(_opened(folder)), sources, console, repair=not look_only)
    if seen.lost:
        raise SiteError(
            "content-lost",
            f"{len(seen.lost)} of {seen.files} contents are damaged or missing and were not mended",
            where=str(folder),
            hint="dryport registry scrub with --bundle or --from that has them; or push them again",
            findings=[
                MediaError("content-damaged", "not what its digest promises", where=f"{name}@{one.digest}")
                for one in seen.lost
                for name in one.repositories
            ][:NAMED],
        )
    mended = sum(one.repaired for one in seen.damages)
    text = f"{folder}: {seen.files} contents ({amount(seen.size)}) are whole" + (f", {mended} mended" if mended else "")
    console.result("RegistryScrubbed", {"store": str(folder), **seen.as_json()}, text)


@click.command()
@store_option
@click.option("--to", "target", type=FOLDER, required=True, help="Folder for the backup; a second run adds to it.")
@json_option
def backup(*, folder: Path, target: Path, as_json: bool) -> None:
    """Copy a store, as it is at one moment, while it is in use."""
    from registry.store.backup import backup as run  # noqa: PLC0415 - as above

    console = Console(as_json=as_json)
    with _opened(folder) as store:
        done = run(store, target, console)
    _refuse_damage(done.damaged, folder, "dryport registry scrub mends it; then back up again")
    text = f"{target}: {done.contents} contents ({amount(done.size)}), {done.copied} copied, {done.removed} removed"
    console.result("RegistryBackup", {"store": str(folder), "backup": str(target), **done.as_json()}, text)


@click.command()
@click.option("--from", "source", type=FOLDER, required=True, help="Folder with the backup.")
@click.option("--store", "folder", type=FOLDER, required=True, help="Folder for the store; it has none yet.")
@json_option
def restore(*, source: Path, folder: Path, as_json: bool) -> None:
    """Make a store from a backup, every byte checked."""
    from registry.store.backup import restore as run  # noqa: PLC0415 - as above

    console = Console(as_json=as_json)
    done = run(source, folder, console)
    _refuse_damage(done.damaged, source, "the rest is restored; dryport registry scrub --bundle mends the store")
    text = f"{folder}: {done.contents} contents ({amount(done.size)}) restored"
    console.result("RegistryRestored", {"backup": str(source), "store": str(folder), **done.as_json()}, text)


@click.command()
@store_option
@json_option
def rebuild(*, folder: Path, as_json: bool) -> None:
    """Make a store's lost or damaged index anew from its files. The server must not run."""
    from registry.store.rebuild import rebuild as run  # noqa: PLC0415 - as above

    console = Console(as_json=as_json)
    done = run(folder, console)
    lines = [f"{folder}: {done.repositories} repositories, {done.manifests} manifests, {done.tags} tags"]
    lines += [f"  lost: {name}" for name in done.lost]
    console.result("RegistryRebuilt", {"store": str(folder), **done.as_json()}, "\n".join(lines))


VERBS = (gc, retention, scrub, backup, restore, rebuild)


def _opened(folder: Path) -> Store:
    """Open a store that is there. Raises SiteError."""
    from registry.store.store import INDEX, Store  # noqa: PLC0415 - as above

    if not (folder / INDEX).is_file() and not (folder / "blobs").is_dir():
        raise SiteError(
            "store-missing", "there is no store", where=str(folder), hint="dryport registry import --store DIR"
        )
    return Store.open(folder)


def _refuse_damage(damaged: tuple[str, ...], place: Path, hint: str) -> None:
    if damaged:
        raise MediaError(
            "content-damaged",
            f"{len(damaged)} contents are damaged or missing and were left out",
            where=str(place),
            hint=hint,
            findings=[
                MediaError("content-damaged", "not what its digest promises", where=one) for one in damaged[:NAMED]
            ],
        )
