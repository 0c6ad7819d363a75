"""`dryport plan`, `apply` and `status`: what a site would do, does, and runs."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from installer.cli.render import Console, amount, json_option, typed
from installer.cli.site import FILE, home_option, open_site, site_argument
from registry.errors import HostError, SiteError

if TYPE_CHECKING:
    from bundles.verify import Verified
    from installer.flows.plan import Plan
    from installer.flows.status import Status
    from installer.site.home import Home
    from installer.site.state import Installed

bundle_option = click.option("--bundle", type=FILE, required=True, help="The signed bundle, read in place.")
at_least_option = click.option("--at-least", type=click.IntRange(1), metavar="N", help="Lowest sequence to accept.")


@click.command()
@site_argument
@bundle_option
@click.option("--out", type=FILE, required=True, help="Where the signed plan goes.")
@at_least_option
@home_option
@json_option
def plan(*, site_file: Path, bundle: Path, out: Path, at_least: int | None, home: Path | None, as_json: bool) -> None:
    """Show and save what apply would do. Nothing is changed, here or on a host."""
    from installer.flows import propose  # noqa: PLC0415 - `--help` need not wait for it

    declared, opened = open_site(site_file, home)
    console = Console(as_json=as_json)
    with _verified(bundle, opened, at_least, console) as verified:
        made = propose.propose(verified, declared, opened)
    propose.save(made, out, opened)
    value = {"path": str(out), "digest": made.digest, "plan": made.model_dump(mode="json")}
    console.result("Plan", value, _plan_text(made, out, bundle))


@click.command()
@click.argument("plan_file", metavar="PLAN.JSON", type=FILE)
@bundle_option
@home_option
@json_option
def apply(plan_file: Path, bundle: Path, home: Path | None, as_json: bool) -> None:
    """Execute a saved plan. Stopped at any point, the same command goes on; done twice, nothing changes."""
    from installer.flows import apply as flow  # noqa: PLC0415 - as above
    from installer.flows import plan as plans  # noqa: PLC0415
    from installer.site.home import Home  # noqa: PLC0415

    signed = plans.load(plan_file)
    opened = Home.open(home.absolute() if home else Path(signed.plan.home))
    declared, opened = open_site(Path(opened.identity.declared), opened.path)
    console = Console(as_json=as_json)
    with _verified(bundle, opened, None, console) as verified:
        order = flow.Order(signed, verified, declared, opened, _ansible_playbook())
        report = flow.apply(order, console)
    release = signed.plan
    value = {
        "site": release.site,
        "product": release.product,
        "version": release.version,
        "sequence": release.sequence,
        "plan": release.digest,
        "steps": report.steps,
        "skipped": report.skipped_steps,
        "ok": report.ok,
        "changed": report.changed,
    }
    text = (
        f"{release.site} runs {release.product} {release.version} (sequence {release.sequence})\n"
        f"  {report.steps} steps, {report.skipped_steps} done before, {report.ok} tasks ok, {report.changed} changed\n"
        f"next: {typed('dryport', 'status', declared.path)}"
    )
    console.result("Applied", value, text)


@click.command()
@site_argument
@home_option
@json_option
def status(site_file: Path, home: Path | None, as_json: bool) -> None:
    """Tell what the site runs, and whether its registries answer."""
    from installer.flows.status import status as look  # noqa: PLC0415 - as above

    declared, opened = open_site(site_file, home)
    found = look(declared, opened, now=datetime.now(UTC))
    Console(as_json=as_json).verdict("SiteStatus", _status_value(found), _status_text(found), _not_ready(found))


def _not_ready(found: Status) -> HostError | None:
    bad = [one for one in found.registries if not one.is_ready]
    if not bad:
        return None
    return HostError(
        "registry-not-ready",
        f"the registry is not ready on: {', '.join(one.host for one in bad)}",
        findings=[one.error for one in bad if one.error],
        hint="on the host: systemctl status dryport-registry.service",
    )


def _verified(bundle: Path, home: Home, at_least: int | None, console: Console) -> _Open:
    from installer.site import memory  # noqa: PLC0415 - as above

    verified = memory.verified(home, bundle, now=datetime.now(UTC), at_least=at_least)
    for warning in verified.warnings:
        console.note(f"warning: {warning}")
    return _Open(verified)


class _Open:
    """A verified bundle that is closed at the end."""

    def __init__(self, verified: Verified) -> None:
        self._verified = verified

    def __enter__(self) -> Verified:
        return self._verified

    def __exit__(self, *_: object) -> None:
        self._verified.close()


def _ansible_playbook() -> Path:
    """Return the program: beside our own, else on PATH (a kit puts its own first).

    The user's settings for Ansible are taken out of the environment, which it would inherit: one of them can write a
    log of everything, another can leave files with secrets on the hosts.
    """
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        del os.environ[name]
    beside = (Path(sys.argv[0]).absolute().parent, Path(sys.executable).parent)
    places = os.pathsep.join([*map(str, beside), os.environ.get("PATH", os.defpath)])
    found = shutil.which("ansible-playbook", path=places)
    if found is None:
        raise SiteError(
            "ansible-missing",
            "there is no ansible-playbook beside dryport or on PATH",
            hint="run dryport from its kit, or install it with its dependencies",
        )
    return Path(found)


def _plan_text(made: Plan, out: Path, bundle: Path) -> str:
    lines = [
        f"{made.site}: {made.product} {made.version} (sequence {made.sequence})",
        *(f"  {step.id:<40}{step.after}{f', {amount(step.bytes)}' if step.bytes else ''}" for step in made.steps),
    ]
    if made.nothing_to_change:
        lines.append("nothing to change: the site runs this release; apply would look whether anything drifted")
    lines += [f"{out} holds until {made.until:%Y-%m-%d %H:%M} UTC, {made.digest}"]
    return "\n".join([*lines, f"next: {typed('dryport', 'apply', out, '--bundle', bundle)}"])


def _status_value(found: Status) -> dict[str, object]:
    rows = [
        {"host": one.host, "address": one.address, "ready": one.is_ready, "seen": one.seen} for one in found.registries
    ]
    return {
        "site": found.site,
        "home": found.home,
        "well": found.is_well,
        "release": _release_value(found.release) if found.release else None,
        "evidence": found.evidence.isoformat() if found.evidence else None,
        "evidenceDays": found.evidence_age.days if found.evidence_age else None,
        "registries": rows,
        "unfinishedPlan": found.unfinished,
    }


def _release_value(held: Installed) -> dict[str, object]:
    from pydantic.alias_generators import to_camel  # noqa: PLC0415 - `--help` need not wait for it

    return {to_camel(name): value for name, value in held.model_dump(mode="json").items()}


def _status_text(found: Status) -> str:
    if found.release is None:
        lines = [f"{found.site}: nothing is installed yet"]
    else:
        held = found.release
        lines = [
            f"{found.site}: {held.product} {held.version} (sequence {held.sequence}), applied {held.applied}",
            f"  packs     {', '.join(held.packs) or 'none'}",
            *(f"  registry  {one.host:<12}{one.address:<32}{one.seen}" for one in found.registries),
        ]
    if found.evidence_age:
        lines.append(f"  evidence  newest signature is {found.evidence_age.days} days old")
    if found.unfinished:
        lines.append(f"  an apply did not end ({found.unfinished}); apply the same plan again to go on")
    return "\n".join(lines)
