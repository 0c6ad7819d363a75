"""`dryport registry`: serve a store or a bundle in place, let users in, fill a store, and look into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from installer.cli import keeping
from installer.cli.access import audit, token
from installer.cli.condition import status
from installer.cli.connecting import Reach, connection_options, refuse_mixed
from installer.cli.events import tell_events, tell_supervisor
from installer.cli.render import Console, Verbs, amount, json_option
from installer.cli.service import ready, unit
from installer.cli.trusting import Trust, trust_options
from installer.cli.users import user as users_group
from registry.errors import UsageError

if TYPE_CHECKING:
    from installer.cli.serving import ServeConfig, Served
    from registry.mirror.report import CopyReport
    from registry.server.workers import Worker

FILE = click.Path(path_type=Path, dir_okay=False)
NAMED = 20
"""How many repositories `serve` names; all of them are in `--json`."""
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(cls=Verbs)
def registry() -> None:
    """Serve, fill and look into a registry."""


@registry.command()
@click.option("--config", type=FILE, help="Configuration file; no other option is given with it.")
@click.option("--bundle", "bundles", type=FILE, multiple=True, help="Bundle to serve in place; once for each.")
@click.option("--store", type=FOLDER, help="Store to serve, and to push to.")
@click.option("--listen", metavar="HOST:PORT", help="Port 0 lets the system choose.  [default: 127.0.0.1:5000]")
@click.option("--certificate", type=FILE, help="Certificate chain (PEM).")
@click.option("--key", type=FILE, help="Its key (PEM, not encrypted).")
@click.option("--users", type=FILE, help="Users file; see: dryport registry user add.")
@click.option(
    "--workers", type=click.IntRange(1, 64), metavar="N", help="Processes that serve.  [default: one per core, up to 8]"
)
@click.option("--check", "only_check", is_flag=True, help="Look at all that --config names, and serve nothing.")
@trust_options
@json_option
def serve(
    *,
    config: Path | None,
    only_check: bool,
    bundles: tuple[Path, ...],
    store: Path | None,
    listen: str | None,
    certificate: Path | None,
    key: Path | None,
    users: Path | None,
    workers: int | None,
    trust: Trust,
    as_json: bool,
) -> None:
    """Serve until the process is told to end. Bundles are verified first and served without unpacking them."""
    from installer.cli import serving  # noqa: PLC0415 - `--help` need not wait for a server
    from registry.server.serve import listen as begin_to_listen  # noqa: PLC0415
    from registry.server.serve import serve as run  # noqa: PLC0415
    from registry.server.workers import default_count, share  # noqa: PLC0415

    options: dict[str, object] = {"listen": listen, "certificate": certificate, "key": key, "users": users}
    options |= {"store": store, "workers": workers}
    given = {name: value for name, value in options.items() if value is not None}
    if only_check and config is None:
        raise UsageError("check-without-config", "a configuration file is checked", hint="--config FILE --check")
    if config is not None:
        if given or bundles or trust.is_given:
            raise UsageError("config-and-options", "a configuration file stands alone", hint="write it into the file")
        if only_check:
            from installer.cli.checking import report  # noqa: PLC0415 - as above

            report(config, Console(as_json=as_json))
            return
        wanted, folder = serving.ServeConfig.read(config), config.parent
    else:
        wanted, folder = _from_options(given, [{"path": path, **asdict(trust)} for path in bundles]), Path()
    console = Console(as_json=as_json)
    with serving.said_by(config):
        settings = wanted.settings(folder)
        serving.judge(settings.store, wanted.bundles)

    def work(worker: Worker | None = None) -> None:
        with serving.opened(settings, wanted.bundles, folder) as served:
            is_first = worker is None or worker.is_spokesman
            for warning in served.warnings if is_first else ():
                console.note(f"warning: {warning}")
            tell = partial(_say_ready, console, served) if is_first else _say_nothing
            run(settings, served.store, served.mounts, tell, listener=listener, worker=worker)

    with begin_to_listen(settings) as listener:
        tell_events()
        share(wanted.workers or default_count(), work)


def _from_options(given: Mapping[str, object], bundles: Sequence[Mapping[str, object]]) -> ServeConfig:
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    from installer.cli.serving import ServeConfig  # noqa: PLC0415

    try:
        return ServeConfig.model_validate({**given, "bundles": bundles})
    except ValidationError as error:
        raise UsageError(
            "listen-malformed", error.errors()[0]["msg"], expected="HOST:PORT", hint="--listen 127.0.0.1:5000"
        ) from error


def _say_nothing(_: str) -> None:
    pass


def _say_ready(console: Console, served: Served, url: str) -> None:
    sources = [{"source": name, "repositories": sorted(source.repositories())} for name, source in served.origins]
    lines = [f"serving at {url}"]
    for name, source in served.origins:
        repositories = sorted(source.repositories())
        lines += [f"  from {name}: {len(repositories)} repositories", *(f"    {one}" for one in repositories[:NAMED])]
        lines += [f"    and {len(repositories) - NAMED} more"] if len(repositories) > NAMED else []
    console.result("RegistryServing", {"url": url, "sources": sources}, "\n".join([*lines, "ready"]))
    tell_supervisor()


@registry.command("import")
@click.option("--from", "source", required=True, metavar="URL|BUNDLE", help="https://HOST:PORT, or a bundle.")
@click.option("--store", "folder", type=FOLDER, required=True, help="Store to fill; made if it is not there.")
@click.option(
    "--repository", "repositories", multiple=True, metavar="GLOB", help="Only these; once for each.  [default: all]"
)
@connection_options
@trust_options
@json_option
def import_(
    *,
    source: str,
    folder: Path,
    repositories: tuple[str, ...],
    reach: Reach,
    trust: Trust,
    as_json: bool,
) -> None:
    """Copy repositories into a store, every byte checked. What is there already is not copied; a killed run goes on.

    A bundle on the store's own file system shares its disk with the store, where the file system can (XFS, btrfs).
    """
    from bundles.delta import of_store  # noqa: PLC0415 - as above
    from installer.cli.serving import open_bundle, take_in  # noqa: PLC0415
    from registry.mirror.copy import copy  # noqa: PLC0415
    from registry.mirror.selection import Selection  # noqa: PLC0415
    from registry.mirror.target import StoreTarget  # noqa: PLC0415
    from registry.store.store import Store  # noqa: PLC0415

    console = Console(as_json=as_json)
    is_remote = "://" in source
    refuse_mixed(reach, trust, registry=is_remote, bundle=not is_remote, where=source)
    with Store.open(folder) as store:
        if is_remote:
            with reach.registry(source) as remote:
                report = copy(remote, StoreTarget(store), console, selection=Selection.of(repositories))
        else:
            verified = open_bundle(Path(source), trust)
            try:
                content = verified.content(of_store(store))  # a delta's base is looked for before anything else
                take_in(verified, trust.home)
                report = copy(content, StoreTarget(store), console, selection=Selection.of(repositories))
            finally:
                verified.close()
    console.result(
        "RegistryImported", {"from": source, "store": str(folder), **report.as_json()}, _told(report, folder)
    )


def _told(report: CopyReport, folder: Path) -> str:
    absent = f"\n  {report.absent} manifests are absent on purpose" if report.absent else ""
    came = f"{amount(report.bytes_copied)} copied, {amount(report.bytes_shared)} shared"
    return (
        f"{folder}: {report.repositories} repositories, {report.tags} tags\n"
        f"  blobs: {report.blobs_copied} new ({came}), {report.blobs_linked} linked, "
        f"{report.blobs_present} present ({amount(report.bytes_present)})\n"
        f"  manifests: {report.manifests_copied} copied, {report.manifests_present} present{absent}"
    )


for verb in (status, users_group, token, audit, *keeping.VERBS, unit, ready):
    registry.add_command(verb)
