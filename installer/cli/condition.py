"""`dryport registry status`: what a store holds, whether it is whole, and what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from installer.cli.render import Console, amount, json_option
from registry.errors import SiteError

if TYPE_CHECKING:
    from registry.store.condition import Condition, Use
    from registry.store.policy import Rule
    from registry.store.runs import Run

_UNITS = (("days", 86400), ("h", 3600), ("min", 60), ("s", 1))


@click.command()
@click.option(
    "--store", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Store to look into."
)
@json_option
def status(*, folder: Path, as_json: bool) -> None:
    """Say what a store holds and needs, and whether it is whole.

    It is when all that its manifests name is there.
    """
    from registry.mirror.inventory import inventory  # noqa: PLC0415 - `--help` need not wait for a database
    from registry.store.condition import Use, condition  # noqa: PLC0415
    from registry.store.store import Store  # noqa: PLC0415

    console = Console(as_json=as_json)
    if not (folder / "index.sqlite").is_file():
        raise SiteError(
            "store-missing", "there is no store", where=str(folder), hint="dryport registry import --store DIR"
        )
    with Store.open(folder) as store:
        found, seen = inventory(store), condition(store)
    summary = (
        f"{folder}: {len(found.repositories)} repositories, {found.manifests} manifests, "
        f"{found.blobs} blobs ({amount(found.size)}), {'whole' if not found.missing else 'NOT WHOLE'}"
    )
    uses = [(one, seen.uses.get(one.name, Use(0, None))) for one in found.repositories]
    shown = [f"  {one.name}  {', '.join(one.tags) or '(no tag)'}  {_said(use)}" for one, use in uses]
    value = {"store": str(folder), **found.as_json(), **seen.as_json()}
    value["repositories"] = [
        {"name": one.name, "tags": list(one.tags), "bytes": use.used, "quota": use.quota} for one, use in uses
    ]
    refusal = SiteError(
        "store-incomplete",
        f"{len(found.missing)} thing(s) that manifests name are not in the store",
        where=str(folder),
        findings=[SiteError("content-missing", "missing or cut short", where=name) for name in found.missing],
        hint="import again from where they came: dryport registry import",
    )
    console.verdict(
        "RegistryStatus", value, "\n".join([summary, *_needs(seen), *shown]), refusal if found.missing else None
    )


def _needs(seen: Condition) -> Iterator[str]:
    waste, uploads = seen.garbage, seen.uploads
    yield f"  disk       {amount(seen.disk_free)} free of {amount(seen.disk)}"
    yield (
        f"  garbage    {amount(waste.freeable)} would be freed now, {amount(waste.waiting)} wait for the end of their "
        f"grace, {amount(waste.markable)} would be marked"
    )
    expired = f", {uploads.expired} of them expired ({amount(uploads.expired_bytes)})" if uploads.expired else ""
    yield f"  uploads    {uploads.open} open ({amount(uploads.bytes)}){expired}"
    yield f"  collected  {_ago(seen.collected, seen.now, 'freed', 'freed')}"
    yield f"  scrubbed   {_ago(seen.scrubbed, seen.now, 'bytes', 'read')}"
    rules = seen.policy.rules
    yield f"  policy     {'READ-ONLY' if seen.policy.read_only else 'takes pushes'}, {len(rules)} rule(s)"
    yield from (f"    {', '.join(rule.repositories)}: {'; '.join(_ruled(rule)) or 'the defaults'}" for rule in rules)


def _ago(run: Run | None, now: float, of: str, word: str) -> str:
    if run is None:
        return "never, as far as is known"
    seconds = max(int(now - run.ended), 0)
    unit, size = next((unit, size) for unit, size in _UNITS if seconds >= size or size == 1)
    lost = f", {run.result['lost']} NOT MENDED" if run.result.get("lost") else ""
    return f"{seconds // size} {unit} ago, {amount(run.result.get(of, 0))} {word}{lost}"


def _ruled(rule: Rule) -> Iterator[str]:
    """Spell what a rule says beyond the defaults."""
    if rule.immutable_tags:
        yield f"immutable {' '.join(rule.immutable_tags)}"
    if not rule.deletes:
        yield "no deletes"
    for keep in rule.keep:
        yield f"keep {keep.tags} and {keep.previous} before"
    if rule.quota_bytes is not None:
        yield f"quota {amount(rule.quota_bytes)}"
    if "sparse" in rule.model_fields_set:
        yield f"sparse {rule.sparse if isinstance(rule.sparse, str) else ' '.join(rule.sparse)}"
    if "untagged_days" in rule.model_fields_set:
        yield "untagged for ever" if rule.untagged_days is None else f"untagged {rule.untagged_days:g} days"


def _said(use: Use) -> str:
    if use.quota is None:
        return amount(use.used)
    share = f" ({use.used * 100 // use.quota} %)" if use.quota else ""
    return f"{amount(use.used)} of {amount(use.quota)}{share}"
