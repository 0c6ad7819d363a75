"""`dryport bundle lock`: a definition resolved, proven to be complete, and who wants what in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from installer.cli.helming import Rendering, helm_options
from installer.cli.render import Console, amount, json_option, shown, typed
from installer.cli.sources import Sources, source_options
from registry.errors import UsageError

if TYPE_CHECKING:
    from bundles.closure import Closure
    from bundles.definition import Definition
    from bundles.sources.resolve import Resolution

LOCK_NAME = "bundle.lock.json"
FILE = click.Path(path_type=Path, dir_okay=False)
_UNRENDERED = {"pack": "its files were looked through", "chart": "so nobody knows which images it starts"}
lock_option = click.option("--lock", "lock_path", type=FILE, help=f"The lock.  [default: {LOCK_NAME} beside it]")


@click.command()
@click.argument("definition", type=FILE)
@lock_option
@source_options
@click.option("--advisories", type=FILE, help="What is known to be wrong with versions; a file as in the docs.")
@click.option("--explain", metavar="IMAGE", help="Say which packs want an image, and where; write nothing.")
@helm_options
@json_option
def lock(
    *,
    definition: Path,
    lock_path: Path | None,
    sources: Sources,
    advisories: Path | None,
    explain: str | None,
    as_json: bool,
    **rendering: Unpack[Rendering],
) -> None:
    """Resolve DEFINITION: every artefact by digest and size. Unchanged sources give the same lock.

    Packs are rendered, and every image that they start has to be in the lock.
    """
    from bundles import approval  # noqa: PLC0415 - `--help` need not wait for it
    from bundles.definition import Definition  # noqa: PLC0415
    from bundles.sources import resolve  # noqa: PLC0415
    from registry.store import durable  # noqa: PLC0415

    console = Console(as_json=as_json)
    with sources.inputs(definition, rendering) as inputs:
        if explain is not None:
            _explain(console, explain, Definition.read(definition), resolve.wanting(definition, inputs))
            return
        known = approval.read(advisories) if advisories else ()
        found = resolve.resolve(definition, replace(inputs, advisories=known), console)
    path, data = lock_path or definition.with_name(LOCK_NAME), found.lock.encode()
    durable.replace(path, data)
    _told(console, definition, path, found, [*(["--lock", lock_path] if lock_path else []), *sources.again()])


def _told(console: Console, definition: Path, path: Path, found: Resolution, same: list[object]) -> None:
    locked = found.lock
    size = sum(blob.size for blob in locked.blobs())
    static = sorted((one.title, one.kind) for one in locked.artifacts if one.proof == "static")
    notes = [*found.notes, *(f"{title}: not rendered, {_UNRENDERED[kind]}" for title, kind in static)]
    value = {
        "path": str(path),
        "product": locked.product,
        "version": locked.version,
        "artifacts": len(locked.artifacts),
        "content": size,
        "notes": notes,
        "licences": {one.ref: one.licence or "unknown" for one in locked.artifacts if one.kind == "image"},
        "advisories": [one.model_dump() for one in locked.advisories or ()],
    }
    for note in notes:
        console.note(f"note: {note}")
    for one in locked.advisories or ():
        doubt = "" if one.judged else ", whose version cannot be judged here"
        summary = f": {one.summary}" if one.summary else ""
        console.note(f"advisory: {one.id} ({one.severity}): {one.about}{doubt}{summary}")
    build_it = ("dryport", "bundle", "build", definition, *same, "--out", f"{locked.product}-{locked.version}.tar")
    text = (
        f"{path}\n  {locked.product} {locked.version}, {len(locked.artifacts)} artefacts, {amount(size)}\n"
        f"next: {typed(*build_it)}"
    )
    console.result("BundleLocked", value, text)


def _explain(console: Console, image: str, definition: Definition, closure: Closure) -> None:
    try:
        lines = closure.explain(image, definition.images)
    except ValueError as error:
        raise UsageError(
            "image-malformed", str(error), seen=image[:200], hint="--explain registry.example.org/web:1.0"
        ) from error
    text = "\n".join(shown(line, kept="") for line in lines) or f"no pack of the definition wants {image}"
    console.result("ImageExplained", {"image": image, "lines": lines}, text)
