"""`dryport support`: what helps somebody who cannot log in here, without a secret in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from installer.cli.render import Console, amount, json_option
from installer.cli.site import FILE, home_option, open_site, site_argument

SECONDS = 300.0


@click.command()
@site_argument
@click.option("--out", type=FILE, required=True, help="The tar.gz to write.")
@click.option("--since", default="7 days ago", show_default=True, metavar="TIME", help="How far back logs go.")
@home_option
@json_option
def support(*, site_file: Path, out: Path, since: str, home: Path | None, as_json: bool) -> None:
    """Collect what helps to find a fault: states, records, logs, what hosts tell.

    Secrets are blotted out, CONTENTS.json inside lists every file. Look through it before you give it away.
    """
    from installer.flows.support import collect  # noqa: PLC0415 - `--help` need not wait for it
    from installer.hosts.ssh import Answer, Ssh  # noqa: PLC0415
    from installer.targets.base import Host  # noqa: PLC0415

    declared, opened = open_site(site_file, home)
    ssh = Ssh(opened.known_hosts)

    def ask(host: Host, script: str) -> Answer:
        return ssh.run(host, script, seconds=SECONDS, as_root=True)

    done = collect(declared, opened, out, ask=ask, now=datetime.now(UTC), since=since)
    value = {"path": str(done.path), "size": done.size, "files": done.files, "missing": list(done.missing)}
    lines = [f"{done.path}: {done.files} files, {amount(done.size)}, secrets blotted out"]
    lines += [f"  not there: {line}" for line in done.missing]
    Console(as_json=as_json).result("SupportBundle", value, "\n".join(lines))
