"""`dryport pack lint`, `images` and `build`: a pack judged and archived on this machine, without any network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from installer.cli.helming import Rendering, helm_options, offered, ready_helm
from installer.cli.render import Console, amount, example, json_option, typed
from registry.errors import DefinitionError, DryportError, UsageError

if TYPE_CHECKING:
    from registry.packs.helm import Helm
    from registry.packs.images import Inventory
    from registry.packs.lint.report import Report
    from registry.packs.pushing import Built
    from registry.packs.rendering import Offered

PACK = click.Path(path_type=Path, exists=True)
FOLDER = click.Path(path_type=Path, file_okay=False)


def allow_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --allow to a command."""
    return click.option(
        "--allow",
        "allowed",
        metavar="FINDING=REASON",
        multiple=True,
        help="Accept a finding by name, for a reason; once for each.",
    )(command)


@click.command(epilog=example("dryport pack lint packs/web --allow image-undeclared='started by hand only'"))
@click.argument("packs", type=PACK, nargs=-1, required=True, metavar="PACK...")
@allow_option
@helm_options
@json_option
def lint(
    *,
    packs: tuple[Path, ...],
    allowed: tuple[str, ...],
    as_json: bool,
    **rendering: Unpack[Rendering],
) -> None:
    """Say everything that is odd about packs (folders or tar.gz).

    Each finding has a name, a severity, a place and the next thing to do; errors end with code 3. The names are
    explained in docs/packs.md.
    """
    console, reasons = Console(as_json=as_json), _reasons(allowed)
    with ready_helm(rendering["program"], static=rendering["static"]) as helm:
        reports = [_report(pack, helm, offered(rendering)) for pack in packs]
    refused = [report for report in reports if report.refused(reasons)]
    lines = [line for report in reports for line in _told(report, reasons)]
    value = {"packs": [report.as_json(reasons) for report in reports]}
    console.verdict("PackLint", value, "\n".join(lines), _refusal(refused, len(reports), reasons))


@click.command(epilog=example("dryport pack images packs/web --kube-version 1.32.0 --kube-version 1.33.0"))
@click.argument("pack", type=PACK, metavar="PACK")
@helm_options
@json_option
def images(*, pack: Path, as_json: bool, **rendering: Unpack[Rendering]) -> None:
    """List the images of a pack: declared, used, and merely possible.

    With Helm every chart, manifest and preset is rendered; without it, values and templates are looked through.
    """
    console = Console(as_json=as_json)
    with ready_helm(rendering["program"], static=rendering["static"]) as helm:
        found, title = _inventory(pack, helm, offered(rendering))
    lines = _listed(found)
    if found.failed:
        lines.append(f"  the list is not complete; see: {typed('dryport', 'pack', 'lint', pack)}")
    console.result("PackImages", {"pack": title, **found.as_json()}, "\n".join(lines))


@click.command(epilog=example("dryport pack build packs/web --out dist"))
@click.argument("pack", type=PACK, metavar="PACK")
@click.option("--out", type=FOLDER, default=Path(), help="Where to put NAME-VERSION.tar.gz.  [default: here]")
@allow_option
@helm_options
@json_option
def build(
    *,
    pack: Path,
    out: Path,
    allowed: tuple[str, ...],
    as_json: bool,
    **rendering: Unpack[Rendering],
) -> None:
    """Check a pack and write its archive, NAME-VERSION.tar.gz.

    The same files give the same bytes, on any machine and day.
    """
    from registry.store import durable  # noqa: PLC0415 - `--help` need not wait for it

    console = Console(as_json=as_json)
    built = checked(pack, console, allowed, rendering)
    durable.make_folder(out)
    path = out / f"{built.metadata.title}.tar.gz"
    durable.replace(path, built.archive)
    value = {
        "name": built.metadata.name,
        "version": built.metadata.version,
        "file": str(path),
        "size": built.layer.size,
        "archive": str(built.layer.digest),
        "digest": str(built.digest),
    }
    text = f"{path}  {amount(built.layer.size)}\n  as artifact: {built.digest}"
    console.result("PackBuild", value, text)


def checked(pack: Path, console: Console, allowed: Sequence[str], rendering: Rendering) -> Built:
    """Return a pack that has no errors but the allowed ones, as archive. Raises DefinitionError with the others."""
    from registry.packs.artifact import pack_archive  # noqa: PLC0415 - `--help` need not wait for it
    from registry.packs.pushing import Built  # noqa: PLC0415

    reasons = _reasons(allowed)
    with ready_helm(rendering["program"], static=rendering["static"]) as helm:
        report = _report(pack, helm, offered(rendering))
    if refusal := _refusal([report] if report.refused(reasons) else [], 1, reasons, each=True):
        raise refusal
    if report.inventory is not None and report.inventory.method == "static":
        console.note("there is no Helm here: images were looked for without rendering")
    if report.metadata is None:
        raise AssertionError("what has no metadata has an error")
    if pack.is_dir():
        return Built.of(report.metadata, pack_archive(pack))
    _require_form(pack, report.metadata.title)
    with pack.open("rb") as stream:
        return Built.of(report.metadata, iter(lambda: stream.read(1 << 20), b""))


def _require_form(pack: Path, title: str) -> None:
    from registry.packs.reading import read_files  # noqa: PLC0415 - as above

    top = read_files(pack).top
    if top != title:
        raise DefinitionError(
            "pack-archive-form",
            "an archive is written with one folder NAME-VERSION",
            where=str(pack),
            expected=title,
            seen=top or "no folder",
            hint="give the pack's folder; dryport makes the archive",
        )


def _report(pack: Path, helm: Helm | None, cluster: Offered) -> Report:
    from registry.packs.lint.report import lint  # noqa: PLC0415 - as above
    from registry.packs.reading import read_files  # noqa: PLC0415

    return lint(read_files(pack), helm, cluster)


def _inventory(pack: Path, helm: Helm | None, cluster: Offered) -> tuple[Inventory, str]:
    from registry.packs.content import PackContent  # noqa: PLC0415 - as above
    from registry.packs.images import inventory  # noqa: PLC0415
    from registry.packs.reading import read_files  # noqa: PLC0415

    content = PackContent.of(read_files(pack))
    return inventory(content, helm, cluster), content.metadata.title


def _reasons(allowed: Sequence[str]) -> Mapping[str, str]:
    from registry.packs.lint.report import known  # noqa: PLC0415 - as above

    reasons: dict[str, str] = {}
    for one in allowed:
        name, equals, reason = one.partition("=")
        if not known(name) or not equals or not reason.strip():
            raise UsageError(
                "allow-unknown" if not known(name) else "allow-without-reason",
                "a finding is allowed by its name, with a reason",
                seen=one[:200],
                hint="--allow image-undeclared='started by hand only'; the names are in docs/packs.md",
            )
        reasons[name] = reason.strip()
    return reasons


def _refusal(
    refused: Sequence[Report], count: int, reasons: Mapping[str, str], *, each: bool = False
) -> DryportError | None:
    if not refused:
        return None
    errors = [finding for report in refused for finding in report.refused(reasons)]
    return DefinitionError(
        "pack-refused",
        f"{len(errors)} error(s) in {len(refused)} of {count} pack(s)",
        where=", ".join(report.where for report in refused[:5]),
        findings=[finding.as_error() for finding in errors] if each else [],
        hint="mend them, or accept one by name with a reason: --allow FINDING=REASON",
    )


def _told(report: Report, reasons: Mapping[str, str]) -> Sequence[str]:
    about = report.metadata
    title = f"{about.name} {about.version}" if about else "no pack"
    counts = ", ".join(
        f"{count} {severity}{'s' if count != 1 else ''}"
        for severity in ("error", "warning", "note")
        if (count := report.count(severity))
    )
    lines = [f"{title} ({report.where}): {counts or 'nothing to say'}"]
    for finding in report.findings:
        place = f" {finding.where}" if finding.where else ""
        lines.append(f"  {finding.severity} [{finding.reference}]{place}: {finding.text}")
        if finding.reference in reasons:
            lines.append(f"    allowed: {reasons[finding.reference]}")
        elif finding.severity != "note":
            lines.append(f"    do: {finding.act}")
    return lines


def _listed(found: Inventory) -> list[str]:
    method = f"rendered by Helm {found.helm}" if found.helm else "looked for without Helm (method: static)"
    lines = [f"{len(found.images)} image(s), {method}"]
    for entry in sorted(found.images, key=lambda one: one.image.spelled):
        words = [word for word in ("declared", "used", "possible", "annotated") if getattr(entry, word)]
        presets = [name for name in entry.presets if name]
        by = f" with {', '.join(presets)}" if presets and "" not in entry.presets else ""
        lines.append(f"  {entry.title}  {', '.join(words)}{by}")
    lines += [f"  not rendered: {one.file}: {one.fault}" for one in found.failed]
    return lines
