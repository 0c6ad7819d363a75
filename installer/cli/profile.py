"""`dryport profile`: an ordered set of packs, checked and rendered before anything is shipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from installer.cli.connecting import Reach, login_options
from installer.cli.helming import ready_helm
from installer.cli.render import Console, Verbs, example, json_option
from registry.errors import DefinitionError, DryportError, SiteError

if TYPE_CHECKING:
    from registry.packs.findings import Finding
    from registry.packs.helm import Helm
    from registry.profiles.check import Given, Report
    from registry.profiles.library import Library
    from registry.profiles.model import Profile
    from registry.profiles.rendering import Rendered

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


class Sources(TypedDict):
    """Where a profile's packs and variables come from, as the options of `source_options` name them."""

    folders: tuple[Path, ...]
    url: str | None
    ca: Path | None
    user: str | None
    password_file: Path | None
    base: str
    flavour: str
    variables: Path | None
    program: Path | None


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names the places of packs, the file of variables, and Helm."""
    for option in (
        click.option("--helm", "program", type=FILE, help="The Helm program.  [default: helm on the path]"),
        click.option("--variables", type=FILE, help="YAML file with the values of the profile's variables."),
        click.option("--flavour", default="", metavar="NAME", help="Other builds of the same versions, as fips."),
        click.option("--base", default="", metavar="PATH", help="Path before spectro-packs/archive.  [default: none]"),
        login_options,
        click.option("--registry", "url", metavar="URL", help="Registry with packs, https://HOST:PORT"),
        click.option("--packs", "folders", type=FOLDER, multiple=True, help="Folder with packs; once for each."),
    ):
        command = option(command)
    return command


@click.group(cls=Verbs)
def profile() -> None:
    """Check and render profiles: ordered sets of packs."""


@profile.command(epilog=example("dryport profile check profile.yaml --packs packs --variables site.yaml"))
@click.argument("file", type=FILE, metavar="PROFILE")
@click.option("--from", "before", type=FILE, help="The profile that this one replaces: upgrades are judged.")
@source_options
@json_option
def check(*, file: Path, before: Path | None, as_json: bool, **sources: Unpack[Sources]) -> None:
    """Say what is wrong with a profile, and what it would install when.

    Dependencies, values, variables, macros and resources are judged; for conflicts the smallest change is proposed that
    would do. Errors end with code 3.
    """
    console = Console(as_json=as_json)
    with _prepared(file, before, sources) as (declared, library, given), ready_helm(sources["program"]) as helm:
        report = _judged(declared, library, given, helm)
    refusal = _refusal(file, report.errors)
    console.verdict("ProfileCheck", report.as_json(), "\n".join(_told(report)), refusal)


@profile.command(epilog=example("dryport profile render profile.yaml --packs packs --out manifests.yaml"))
@click.argument("file", type=FILE, metavar="PROFILE")
@click.option("--out", type=FILE, help="Where to put the manifests.  [default: standard output]")
@click.option("--mark-generated", "mark", is_flag=True, help="Put a mark for what a chart makes by chance.")
@source_options
@json_option
def render(*, file: Path, out: Path | None, mark: bool, as_json: bool, **sources: Unpack[Sources]) -> None:
    """Write the final manifests of a profile, the same bytes each time.

    They come in the order of installation. A profile with errors is not rendered; nor is one whose charts
    make values by chance, unless these are marked.
    """
    from registry.profiles.rendering import rendered  # noqa: PLC0415 - `--help` need not wait for it
    from registry.store import durable  # noqa: PLC0415

    console = Console(as_json=as_json)
    with _prepared(file, None, sources) as (declared, library, given), ready_helm(sources["program"]) as helm:
        if helm is None:
            raise SiteError(
                "helm-absent",
                "charts are rendered by the Helm program, and there is none",
                hint="put helm on the path, or name it: --helm FILE",
            )
        report = _judged(declared, library, given, None)
        made = rendered(report.composed, report.steps, helm, mark=mark)
        version = helm.version
    faults = [*report.errors, *(finding for finding in made.findings if finding.severity == "error")]
    if refusal := _refusal(file, faults, each=True):
        raise refusal
    if made.generated and not mark:
        raise _unstable(file, made)
    if out:
        durable.replace(out, made.text.encode())
    for finding in report.findings:
        if finding.severity == "warning":
            console.note(_line(finding))
    value = {
        "profile": declared.name,
        "version": declared.version,
        "helm": version,
        "images": list(made.images),
        "generated": made.generated,
        **({"file": str(out)} if out else {"manifests": made.text}),
    }
    console.result("ProfileRender", value, str(out) if out else made.text.rstrip("\n"))


@contextmanager
def _prepared(file: Path, before: Path | None, sources: Sources) -> Iterator[tuple[Profile, Library, Given]]:
    from registry.packs.place import Place  # noqa: PLC0415 - `--help` need not wait for it
    from registry.packs.shelf import Shelf  # noqa: PLC0415
    from registry.profiles.check import Given  # noqa: PLC0415
    from registry.profiles.library import Library  # noqa: PLC0415
    from registry.profiles.model import Profile, document  # noqa: PLC0415

    declared = Profile.load(file)
    variables: Mapping[str, Any] = document(sources["variables"]).value() if sources["variables"] else {}
    given = Given(variables, Profile.load(before) if before else None)
    if sources["url"] is None:
        yield declared, Library(file.parent, sources["folders"]), given
        return
    place = Place.of(sources["base"], sources["flavour"])
    reach = Reach(ca=sources["ca"], user=sources["user"], password_file=sources["password_file"])
    with reach.registry(sources["url"]) as remote:
        yield declared, Library(file.parent, sources["folders"], Shelf(remote, place)), given


def _unstable(file: Path, made: Rendered) -> DryportError:
    found = [finding for finding in made.findings if finding.reference == "render-unstable"]
    return DefinitionError(
        "profile-unstable",
        f"{len(made.generated)} value(s) are made by chance, and are others each time",
        where=str(file),
        findings=[finding.as_error() for finding in found],
        hint="give them in the profile, or see the rest with a mark in their place: --mark-generated",
    )


def _judged(declared: Profile, library: Library, given: Given, helm: Helm | None) -> Report:
    from registry.profiles.check import check as judge  # noqa: PLC0415 - as above

    return judge(declared, library, given, helm)


def _refusal(file: Path, errors: Sequence[Finding], *, each: bool = False) -> DryportError | None:
    if not errors:
        return None
    return DefinitionError(
        "profile-refused",
        f"{len(errors)} error(s) in the profile",
        where=str(file),
        findings=[finding.as_error() for finding in errors] if each else [],
        hint="mend them; docs/profiles.md explains each",
    )


def _told(report: Report) -> Sequence[str]:
    lines = [f"{report.profile.name} {report.profile.version}, in this order:"]
    for number, step in enumerate(report.steps, start=1):
        releases = ", ".join(release for _, release in step.releases)
        what = f"  {releases}" if releases else ""
        more = f"  {len(step.manifests)} manifest(s)" if step.manifests else ""
        lines.append(f"  {number:>3}  {step.layer:<6} {step.part.title}  in {step.namespace}{what}{more}")
    lines.append(f"{len(report.images)} image(s){'' if report.method == 'helm' else ', as declared: there is no Helm'}")
    for finding in report.findings:
        lines.append(f"  {_line(finding)}")
        if finding.severity != "note":
            lines.append(f"    do: {finding.act}")
    if report.proposal is None:
        lines.append("no few changes among the known versions mend the dependencies")
    elif report.proposal:
        lines += ["smallest change that mends the dependencies:", *(f"  {change}" for change in report.proposal)]
    return lines


def _line(finding: Finding) -> str:
    place = f" {finding.where}" if finding.where else ""
    return f"{finding.severity} [{finding.reference}]{place}: {finding.text}"
