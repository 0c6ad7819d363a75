"""`dryport pack`: the add-on packs that a registry offers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import click

from installer.cli.connecting import Login, connection_options
from installer.cli.render import Console, Verbs, json_option
from registry.errors import DryportError, RemoteError

if TYPE_CHECKING:
    from registry.client.remote import RemoteRegistry
    from registry.packs.model import Pack

PACK_BYTES = 256 << 20


@click.group(cls=Verbs)
def pack() -> None:
    """List the add-on packs of a registry."""


@pack.command("list")
@click.option("--registry", "url", required=True, metavar="URL", help="https://HOST:PORT")
@connection_options
@json_option
def list_(*, url: str, login: Login, as_json: bool) -> None:
    """List the packs that a registry serves. Each is fetched, checked against its digest, and read."""
    console = Console(as_json=as_json)
    with login.to(url) as remote:
        names, faults = _packs(remote)
    lines = [f"{one['name']}:{one['version']}  {one['layer']}  {one['digest']}{_notes(one)}" for one in names]
    text = "\n".join(lines or ["the registry offers no packs"])
    refusal = RemoteError(
        "packs-unusable",
        f"{len(faults)} pack(s) cannot be used",
        where=url,
        findings=faults,
        hint="push them again from their source, or import the bundle again",
    )
    console.verdict("PackList", {"registry": url, "packs": names}, text, refusal if faults else None)


def _packs(remote: RemoteRegistry) -> tuple[list[dict[str, Any]], list[DryportError]]:
    from registry.packs.model import NAMESPACE  # noqa: PLC0415 - `--help` need not wait for it

    found: list[dict[str, Any]] = []
    faults: list[DryportError] = []
    for repository in sorted(remote.repositories()):
        if not repository.startswith(f"{NAMESPACE}/"):
            continue
        for tag in sorted(remote.tags(repository)):
            try:
                digest, one = _read(remote, repository, tag)
            except DryportError as error:
                faults.append(error)
                continue
            found.append(
                {
                    "name": one.metadata.name,
                    "version": one.metadata.version,
                    "displayName": one.metadata.display_name,
                    "layer": one.metadata.layer,
                    "cloudTypes": list(one.metadata.cloud_types),
                    "reference": f"{repository}:{tag}",
                    "digest": digest,
                    "images": [image.reference for image in one.images],
                    "notes": [{"reference": note.reference, "text": note.text} for note in one.notes],
                }
            )
    return found, faults


def _read(remote: RemoteRegistry, repository: str, tag: str) -> tuple[str, Pack]:
    from registry.oci.manifest import TITLE, Manifest  # noqa: PLC0415 - as above
    from registry.packs.reading import read_archive  # noqa: PLC0415

    where = f"{repository}:{tag}"
    named = remote.resolve(repository, tag)
    data = remote.manifest(repository, named.digest) if named else None
    if named is None or data is None:
        raise RemoteError(
            "pack-missing",
            "the registry lists a pack that it does not have",
            where=where,
            hint="push it again from its source, or import the bundle again",
        )
    try:
        manifest = Manifest.parse(*data)
    except ValueError as error:
        raise RemoteError(
            "manifest-invalid",
            str(error),
            where=where,
            hint="push it again from its source, or import the bundle again",
        ) from error
    layers = [blob for blob in manifest.blobs if blob.annotations.get(TITLE, "").endswith(".tar.gz")]
    if len(layers) != 1:
        raise RemoteError(
            "pack-form",
            "a pack is one layer titled NAME-VERSION.tar.gz",
            where=where,
            hint="push it again from its source, or import the bundle again",
        )
    read = read_archive(io.BytesIO(remote.blob_bytes(repository, layers[0], PACK_BYTES)), where)
    if (read.metadata.repository, read.metadata.tag) != (repository, tag):
        raise RemoteError(
            "pack-name",
            "a pack is served under another name or version than its own",
            where=where,
            seen=read.metadata.title,
            hint="push it again under its own name and version",
        )
    return str(named.digest), read


def _notes(one: dict[str, Any]) -> str:
    return "".join(f"\n    note: {note['text']}" for note in one["notes"])
