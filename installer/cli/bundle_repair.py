"""`dryport bundle repair`: a whole bundle out of damaged copies."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from installer.cli.render import Console, amount, json_option, typed
from installer.cli.trusting import Trust, trust_options
from registry.errors import UsageError

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("path", metavar="BUNDLE", type=FILE)
@click.option("--from", "others", type=FILE, multiple=True, required=True, help="Another copy; once for each.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The mended file; for a bundle in volumes the folder for those that were damaged.",
)
@trust_options
@json_option
def repair(*, path: Path, others: tuple[Path, ...], out: Path, trust: Trust, as_json: bool) -> None:
    """Mend BUNDLE from other copies, which may be damaged elsewhere. The copies themselves are never changed."""
    from bundles import repair as mending  # noqa: PLC0415 - `--help` need not wait for it

    state = trust.state()
    if state is None:
        raise UsageError(
            "trust-missing",
            "what is whole is told by whom one trusts",
            hint="give --home DIR, or --root 1.root.json with --fingerprint sha256:...",
        )
    if out.resolve() in {one.resolve() for one in (path, *others)}:
        raise UsageError(
            "out-is-source", "a copy is not changed while it is read", where=str(out), hint="give another --out"
        )
    console = Console(as_json=as_json)
    done = mending.repair(path, others, state, out, now=datetime.now(UTC), progress=console)
    value = {"path": str(path), "files": [str(one) for one in done.files], "taken": done.taken}
    lines = [f"{path}: {f'{amount(done.taken)} taken from other copies' if done.files else 'nothing is damaged'}"]
    lines += [f"  {one}" for one in done.files]
    if done.files:
        lines.append(f"next: {typed('dryport', 'bundle', 'verify', done.files[0])} --home DIR")
    console.result("BundleRepaired", value, "\n".join(lines))
