"""`dryport pack`: add-on packs in Palette's format, from a folder to a registry and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from installer.cli.connecting import Reach, login_options, read_password
from installer.cli.helming import Rendering, helm_options
from installer.cli.packing import allow_option, build, checked, images, lint
from installer.cli.render import Console, Verbs, amount, example, json_option
from registry.errors import RemoteError, UsageError

if TYPE_CHECKING:
    from registry.packs.pushing import Push
    from registry.packs.shelf import Found, Shelf

FOLDER = click.Path(path_type=Path, file_okay=False)


class At(TypedDict):
    """A registry, and the place in it, as the options of `shelf_options` name them."""

    url: str
    ca: Path | None
    user: str | None
    password_file: Path | None
    base: str
    flavour: str


def shelf_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names a registry and the place in it."""
    for option in (
        click.option("--flavour", default="", metavar="NAME", help="Other builds of the same versions, as fips."),
        click.option("--base", default="", metavar="PATH", help="Path before spectro-packs/archive.  [default: none]"),
        login_options,
        click.option("--registry", "url", required=True, metavar="URL", help="https://HOST:PORT"),
    ):
        command = option(command)
    return command


@click.group(cls=Verbs)
def pack() -> None:
    """Check, build, push, pull and list add-on packs."""


for verb in (lint, images, build):
    pack.add_command(verb)


@pack.command(
    epilog=example("dryport pack push packs/web --registry https://registry:5000 --user ci --password-file password")
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True), metavar="PACK")
@shelf_options
@allow_option
@helm_options
@json_option
def push(
    *,
    folder: Path,
    allowed: tuple[str, ...],
    program: Path | None,
    static: bool,
    kube_versions: tuple[str, ...],
    apis: tuple[str, ...],
    as_json: bool,
    **at: Unpack[At],
) -> None:
    """Check a pack and put it into a registry, once for each version.

    The same content again changes nothing; other content under a version that is there is refused. What was pushed is
    read back and compared by digest.
    """
    console = Console(as_json=as_json)
    rendering = Rendering(program=program, static=static, kube_versions=kube_versions, apis=apis)
    built = checked(folder, console, allowed, rendering)
    with _opened(built.metadata.name, at) as pushing:
        done = pushing.put(built)
    value = {
        "registry": at["url"],
        "reference": f"{done.repository}:{done.tag}",
        "digest": str(done.digest),
        "new": done.is_new,
        "tags": list(done.moved),
        "tagsHeld": list(done.held),
    }
    also = f"\n  also as {', '.join(done.moved)}" if done.moved else ""
    also += f"\n  not moved, this user may not: {', '.join(done.held)}" if done.held else ""
    text = f"{done.repository}:{done.tag}  {'pushed' if done.is_new else 'is there already'}\n  {done.digest}{also}"
    console.result("PackPush", value, text)


@pack.command(epilog=example("dryport pack pull web:1.0.0 --registry https://registry:5000 --out packs"))
@click.argument("reference", metavar="NAME:VERSION")
@click.option("--out", type=FOLDER, default=Path(), help="Where to put NAME-VERSION.  [default: here]")
@click.option("--archive", is_flag=True, help="Keep the tar.gz as it is, instead of a folder.")
@shelf_options
@json_option
def pull(
    *,
    reference: str,
    out: Path,
    archive: bool,
    as_json: bool,
    **at: Unpack[At],
) -> None:
    """Get a pack from a registry, as folder or tar.gz.

    Every byte is checked against its digest. Nothing is overwritten, and nothing half-written stays.
    """
    from registry.packs.place import reference as parsed  # noqa: PLC0415 - `--help` need not wait for it
    from registry.packs.unpacking import unpack  # noqa: PLC0415
    from registry.store import durable  # noqa: PLC0415

    console = Console(as_json=as_json)
    name, tag = parsed(reference)
    with _shelf(at) as shelf:
        found = shelf.get(name, tag)
    durable.make_folder(out)
    path = out / f"{found.pack.metadata.title}{'.tar.gz' if archive else ''}"
    try:
        if archive:
            durable.create(path, found.archive, 0o644)
        else:
            unpack(found.archive, path)
    except FileExistsError as error:
        raise UsageError(
            "out-exists", "nothing is overwritten", where=str(path), hint="remove it, or name another place: --out"
        ) from error
    value = {"registry": at["url"], "reference": found.reference, "digest": str(found.digest), "path": str(path)}
    console.result("PackPull", value, f"{path}  {amount(len(found.archive))}\n  {found.reference}@{found.digest}")


@pack.command(
    "list", epilog=example("dryport pack list --registry https://registry:5000 --user pull --password-file password")
)
@shelf_options
@json_option
def list_(
    *,
    as_json: bool,
    **at: Unpack[At],
) -> None:
    """List the packs that a registry serves. Each is fetched, checked against its digest, and read."""
    console = Console(as_json=as_json)
    with _shelf(at) as shelf:
        packs = [_row(found) for found in shelf.packs()]
        faults = shelf.faults
    lines = [f"{one['name']}:{one['version']}  {one['layer']}  {one['digest']}{_more(one)}" for one in packs]
    text = "\n".join(lines or ["the registry offers no packs"])
    refusal = RemoteError(
        "packs-unusable",
        f"{len(faults)} pack(s) cannot be used",
        where=at["url"],
        findings=faults,
        hint="push them again from their source, or import the bundle again",
    )
    console.verdict("PackList", {"registry": at["url"], "packs": packs}, text, refusal if faults else None)


@pack.command(epilog=example("dryport pack tag web:14.4.3 --group lts --registry https://registry:5000"))
@click.argument("reference", metavar="NAME[:VERSION]")
@click.option("--group", metavar="NAME", help="Also tag the version as NAME__VERSION.")
@shelf_options
@json_option
def tag(
    *,
    reference: str,
    group: str | None,
    as_json: bool,
    **at: Unpack[At],
) -> None:
    """Set parent tags, and put a version into a group.

    14.4.x and 14.x name the newest release below them. `push` does this for what it pushes; do it here after a version
    was removed.
    """
    from registry.packs.place import reference as parsed  # noqa: PLC0415 - `--help` need not wait for it

    console = Console(as_json=as_json)
    name, version = parsed(reference) if ":" in reference else (parsed(f"{reference}:x")[0], "")
    if group and not version:
        raise UsageError(
            "pack-reference", "a group is given to a version", expected="NAME:VERSION", hint="for example web:14.4.3"
        )
    with _opened(name, at) as pushing:
        moved = pushing.relink(name)
        if group:
            moved += pushing.group(name, version, group)
    value = {"registry": at["url"], "pack": name, "tags": moved}
    console.result("PackTag", value, "\n".join(f"{name}:{one}" for one in moved) or "all tags were right already")


@contextmanager
def _shelf(at: At) -> Iterator[Shelf]:
    from registry.packs.place import Place  # noqa: PLC0415 - `--help` need not wait for it
    from registry.packs.shelf import Shelf  # noqa: PLC0415

    place = Place.of(at["base"], at["flavour"])
    with Reach(ca=at["ca"], user=at["user"], password_file=at["password_file"]).registry(at["url"]) as remote:
        yield Shelf(remote, place)


@contextmanager
def _opened(name: str, at: At) -> Iterator[Push]:
    from registry.packs.oras_client import Oras  # noqa: PLC0415 - `--help` need not wait for it
    from registry.packs.pushing import Push  # noqa: PLC0415

    with _shelf(at) as shelf:
        password = read_password(at["password_file"]) if at["password_file"] else None
        repository = shelf.place.repository(name)
        with Oras(shelf.remote.url, ca=at["ca"], user=at["user"], password=password, repository=repository) as oras:
            yield Push(shelf, oras)


def _row(found: Found) -> dict[str, Any]:
    about = found.pack.metadata
    return {
        "name": about.name,
        "version": about.version,
        "displayName": about.display_name,
        "layer": about.layer,
        "cloudTypes": list(about.cloud_types),
        "reference": found.reference,
        "digest": str(found.digest),
        "tags": list(found.tags),
        "images": [image.reference for image in found.pack.images],
        "notes": [{"reference": note.reference, "text": note.text} for note in found.pack.notes],
    }


def _more(one: dict[str, Any]) -> str:
    lines: Sequence[str] = [f"also as {', '.join(one['tags'])}"] if one["tags"] else []
    return "".join(f"\n    {line}" for line in [*lines, *(f"note: {note['text']}" for note in one["notes"])])
