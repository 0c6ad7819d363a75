"""`dryport mirror copy`, `verify` and `delete`: content from one place to another, its proof, and its removal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from installer.cli.mirror_bundle import build_bundle
from installer.cli.mirror_ends import Ends, what_options
from installer.cli.places import FILE, FORMS
from installer.cli.probing import state_folder
from installer.cli.render import Console, amount, json_option, typed
from installer.cli.volumes import volume_bytes, volume_size_option
from registry.errors import DefinitionError, RemoteError, UsageError

if TYPE_CHECKING:
    from registry.mirror.compare import Comparison
    from registry.mirror.planned import Plan
    from registry.mirror.removal import Removal, Tagged
    from registry.mirror.report import CopyReport

NAMED = 20
PLAN_AGAIN = "plan again: dryport mirror delete SRC DST --plan FILE"


@click.command()
@what_options
@click.option("--streams", type=click.IntRange(1, 64), metavar="N", help="Blobs on their way at once.  [default: 8]")
@click.option("--journal", "journal_file", type=FILE, help="Where a killed copy goes on from.")
@click.option("--report", "report_file", type=FILE, help="Write the report there too, as JSON.")
@click.option("--product", metavar="NAME", help="What a bundle as DST is called.")
@volume_size_option
@click.option("--version", metavar="VERSION", help="Its version.")
@click.option("--dry-run", is_flag=True, help="Say what would be copied, with bytes, and copy nothing.")
@json_option
def copy(
    *,
    source: str,
    destination: str,
    streams: int | None,
    journal_file: Path | None,
    report_file: Path | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - those of Ends
) -> None:
    """Copy content from SRC to DST, byte for byte.

    Both are bundle:FILE, oci:FOLDER, store:FOLDER or https://HOST[:PORT][/BASE].

    \b
    dryport mirror copy bundle:plane.tar https://registry.site.example/hub
        --root 1.root.json --fingerprint sha256:... --dst-ca ca.pem

    What is there already is not sent again; a killed copy goes on, also inside blobs.
    """  # noqa: D301 - click reads the \b
    from registry.mirror import copy as copying  # noqa: PLC0415 - `--help` need not wait for it
    from registry.mirror.journal import Journal  # noqa: PLC0415

    console = Console(as_json=as_json)
    product = options.pop("product"), options.pop("version"), volume_bytes(options.pop("volume_size"))
    ends = Ends.of(source, destination, options)
    terms = ends.terms(streams)
    if ends.target.place.kind == "bundle" and not dry_run:
        build_bundle(console, ends, *product)
        return
    with ends.source.source() as opened, ends.target.target() as target:
        if dry_run:
            _show_plan(console, ends, copying.plan(opened, target, selection=ends.chosen(opened), terms=terms))
            return
        with Journal(journal_file or ends.journal_file(state_folder())) as journal:
            outcome = copying.attempt(
                opened, target, console, selection=ends.chosen(opened), terms=terms, journal=journal
            )
    value = {"source": source, "destination": destination, **outcome.report.as_json()}
    if report_file:
        _write(report_file, value, outcome.refusal)
    console.verdict("MirrorCopied", value, _told(outcome.report, destination), outcome.refusal)


@click.command()
@what_options
@json_option
def verify(*, source: str, destination: str, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - those of Ends
    """Ask DST for all that SRC has. Every manifest, tag and blob is asked for by digest and size."""
    from registry.mirror.compare import compare  # noqa: PLC0415 - as above

    console = Console(as_json=as_json)
    ends = Ends.of(source, destination, options)
    with ends.source.source() as opened, ends.target.target() as target:
        found = compare(opened, target, selection=ends.chosen(opened), terms=ends.terms())
    value = {"source": source, "destination": destination, **found.as_json()}
    console.verdict("MirrorVerified", value, _compared(found, destination), _differing(found, destination))


@click.command()
@what_options
@click.option("--plan", "plan_file", type=FILE, help="Write down what SRC no longer has; nothing is removed.")
@click.option("--apply", "applied_file", type=FILE, help="Remove exactly what this file says.")
@json_option
def delete(
    *,
    source: str,
    destination: str,
    plan_file: Path | None,
    applied_file: Path | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Remove tags at DST that SRC no longer has. First --plan FILE; when it was read, --apply FILE."""
    from registry.mirror.removal import Removal, surplus  # noqa: PLC0415 - as above

    console = Console(as_json=as_json)
    if (plan_file is None) == (applied_file is None):
        raise UsageError("phase-missing", "removing has two phases", hint="--plan FILE, then --apply FILE")
    ends = Ends.of(source, destination, options)
    if not ends.target.place.is_registry:
        raise UsageError(
            "registry-missing", "tags are removed at a registry", where=destination, hint="name https://HOST[/BASE]"
        )
    if applied_file:
        _apply(console, ends, Removal.read(applied_file))
        return
    with ends.source.source() as opened, ends.target.source() as held:
        names = ends.chosen(opened).repositories(opened.repositories)
        tags = surplus(opened, held, names, ends.terms().place)
    removal = Removal(ends.target.place.origin, tags)
    removal.write(plan_file or Path())
    text = "\n".join([f"{len(tags)} tag(s) that {source} no longer has", *(f"  {one}  {one.digest}" for one in tags)])
    next_ = f"\nnext: {typed('dryport', 'mirror', 'delete', source, destination, '--apply', plan_file)}" if tags else ""
    console.result("MirrorRemoval", {"file": str(plan_file), "tags": [str(one) for one in tags]}, text + next_)


def _apply(console: Console, ends: Ends, removal: Removal) -> None:
    if removal.target != ends.target.place.origin:
        raise DefinitionError(
            "removal-elsewhere",
            "the file is about another registry",
            expected=removal.target,
            seen=ends.target.place.origin,
            hint="name the registry that the file is about",
        )
    from registry.client.push import RemoteTarget  # noqa: PLC0415 - as above

    transport = ends.target.transport()
    try:
        remote = RemoteTarget(transport)
        outcomes = [(one, _removed(remote, one)) for one in removal.tags]
    finally:
        transport.close()
    moved = [one for one, outcome in outcomes if outcome == "moved"]
    value = {"tags": [{"tag": str(one), "outcome": outcome} for one, outcome in outcomes]}
    refusal = RemoteError(
        "tags-moved",
        f"{len(moved)} tag(s) name something else since the plan, and were left alone",
        findings=[
            RemoteError("tag-moved", "names another manifest now", where=str(one), hint=PLAN_AGAIN) for one in moved
        ],
        hint=PLAN_AGAIN,
    )
    lines = [f"  {one}: {outcome}" for one, outcome in outcomes]
    console.verdict("MirrorRemoved", value, "\n".join([f"{len(outcomes)} tag(s)", *lines]), refusal if moved else None)


def _removed(remote: Any, one: Tagged) -> str:  # noqa: ANN401 - a RemoteTarget, imported late
    named = remote.manifest_digest(one.repository, one.tag)
    if named is None:
        return "was gone"
    if named != one.digest:
        return "moved"
    remote.delete_manifest(one.repository, one.tag)
    return "removed"


def _show_plan(console: Console, ends: Ends, plan: Plan) -> None:
    largest = plan.missing[:NAMED]
    manifests = sum(len(graph.nodes) for graph in plan.graphs)
    present = plan.tally.report()
    value = {
        "source": str(ends.source.place),
        "destination": str(ends.target.place),
        "repositories": [
            {"repository": graph.repository, "manifests": len(graph.nodes), "blobs": len(graph.blobs())}
            for graph in plan.graphs
        ],
        "bytes_to_copy": plan.bytes_missing,
        "blobs_to_copy": len(plan.missing),
        "bytes_present": present.bytes_present,
        "blobs_present": present.blobs_present,
        "left_out": present.left_out,
        "absent": present.absent,
        "largest": [{"digest": str(one.descriptor.digest), "bytes": one.descriptor.size} for one in largest],
    }
    lines = [
        f"would copy {amount(plan.bytes_missing)} in {len(plan.missing)} blobs, and {manifests} manifests",
        f"  there already: {amount(present.bytes_present)} in {present.blobs_present + present.blobs_linked} blobs",
        *(f"  {amount(one.descriptor.size):>12}  {one.source}@{one.descriptor.digest}" for one in largest),
    ]
    console.result("MirrorPlan", value, "\n".join(lines))


def _told(report: CopyReport, destination: str) -> str:
    left = f", {report.left_out} of other platforms left out" if report.left_out else ""
    absent = f", {report.absent} absent on purpose" if report.absent else ""
    shared = f", {amount(report.bytes_shared)} shared" if report.bytes_shared else ""
    return (
        f"{destination}: {report.repositories} repositories, {report.tags} tags\n"
        f"  blobs: {report.blobs_copied} copied ({amount(report.bytes_copied)}{shared}), {report.blobs_linked} linked, "
        f"{report.blobs_present} present ({amount(report.bytes_present)})\n"
        f"  manifests: {report.manifests_copied} copied, {report.manifests_present} present{left}{absent}"
    )


def _compared(found: Comparison, destination: str) -> str:
    return (
        f"{destination}: {found.repositories} repositories, {found.manifests} manifests, {found.tags} tags, "
        f"{found.blobs} blobs: {'all there' if not found.differences else f'{len(found.differences)} DIFFER'}"
    )


def _differing(found: Comparison, destination: str) -> RemoteError | None:
    if not found.differences:
        return None
    return RemoteError(
        "mirror-incomplete",
        f"{len(found.differences)} thing(s) are not there as they are at the source",
        where=destination,
        findings=[
            RemoteError("content-missing", "not the same", where=one.where, expected=one.expected, seen=one.seen)
            for one in found.differences
        ],
        hint=f"copy again, with the same words: dryport mirror copy; what is there is not sent twice ({FORMS})",
    )


def _write(path: Path, value: dict[str, Any], refusal: Any) -> None:  # noqa: ANN401 - a DryportError or None
    import json  # noqa: PLC0415

    from registry.store import durable  # noqa: PLC0415 - as above

    body = {"apiVersion": "dryport/v1", "kind": "MirrorCopied", **value}
    durable.replace(path, json.dumps(body | ({"error": refusal.as_json()} if refusal else {}), indent=2).encode())


VERBS = (copy, verify, delete)
