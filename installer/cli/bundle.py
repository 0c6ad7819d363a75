"""`dryport bundle`: from a definition to a signed file, and what that file says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from installer.cli.bundle_delta import delta
from installer.cli.bundle_diff import diff
from installer.cli.bundle_lock import LOCK_NAME, lock, lock_option
from installer.cli.bundle_repair import repair
from installer.cli.bundle_sbom import sbom
from installer.cli.mirror_ends import limit_rate_option, throttle
from installer.cli.render import Console, Verbs, amount, json_option, shown, typed
from installer.cli.sources import Sources, source_options
from installer.cli.trusting import Trust, trust_options
from installer.cli.volumes import split, volume_bytes, volume_dirs_option, volume_size_option
from registry.errors import DefinitionError, MediaError, UsageError

if TYPE_CHECKING:
    from bundles.trust.verify import Release
    from bundles.verify import Look

SIGN_WITH = "--root DIR --key KEY.pem --sequence N --best-before YYYY-MM-DD"
FILE = click.Path(path_type=Path, dir_okay=False)
at_least_option = click.option("--at-least", type=click.IntRange(1), metavar="N", help="Lowest sequence to accept.")


@click.group(cls=Verbs)
def bundle() -> None:
    """Lock, build, sign, verify and inspect bundles."""


for verb in (lock, split, diff, delta, repair, sbom):
    bundle.add_command(verb)


@bundle.command()
@click.argument("definition", type=FILE)
@click.option("--out", type=FILE, required=True, help="The bundle to make.")
@lock_option
@volume_size_option
@limit_rate_option
@source_options
@json_option
def build(
    *,
    definition: Path,
    out: Path,
    lock_path: Path | None,
    volume_size: str | None,
    limit_rate: float | None,
    sources: Sources,
    as_json: bool,
) -> None:
    """Build the bundle that DEFINITION's lock describes. The same lock gives the same bytes; a killed build goes on."""
    from bundles.archive import writer  # noqa: PLC0415 - as above
    from bundles.lock import Lock  # noqa: PLC0415
    from bundles.sources.fetch import Fetcher  # noqa: PLC0415

    console, began = Console(as_json=as_json), time.monotonic()
    locked = Lock.read(lock_path or definition.with_name(LOCK_NAME))
    _require_current(definition, locked.definition)
    with sources.inputs(definition) as inputs:
        fetch = Fetcher(inputs, throttle(limit_rate))
        report = writer.build(locked, out, fetch, console, volume_bytes=volume_bytes(volume_size))
    seconds = time.monotonic() - began
    value = {
        "path": str(out),
        "product": locked.product,
        "version": locked.version,
        "index": str(report.index),
        "size": report.size,
        "content": report.content,
        "fetched": report.fetched,
        "unchanged": report.unchanged,
        "seconds": round(seconds, 3),
    }
    done = (
        "already the bundle of this lock, nothing was written (its blobs were not read)"
        if report.unchanged
        else f"{amount(report.size)} in {seconds:.1f} s, {amount(report.fetched)} of {amount(report.content)} fetched"
    )
    sign_it = f"{typed('dryport', 'bundle', 'sign', out)} {SIGN_WITH}"
    text = f"{out}\n  {report.size} bytes; {done}\n  index {report.index}\nnext: {sign_it}"
    console.result("BundleBuilt", value, text)


@bundle.command()
@click.argument("path", metavar="BUNDLE", type=FILE)
@click.option(
    "--root",
    "roots",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Folder with all root files, or a file; once for each.",
)
@click.option(
    "--key",
    "keys",
    metavar="FILE|URI",
    multiple=True,
    required=True,
    help="Release key: a PEM file or a URI; once for each.",
)
@click.option(
    "--sequence", type=click.IntRange(1), metavar="N", required=True, help="Higher than any release of it before."
)
@click.option("--best-before", required=True, metavar="YYYY-MM-DD", help="Last day on which a site may import it.")
@click.option("--min-installer", metavar="VERSION", help="Lowest version of dryport that may install it.")
@click.option("--passphrase-file", type=FILE, help="File whose first line is the keys' passphrase.")
@json_option
def sign(
    *,
    path: Path,
    roots: tuple[Path, ...],
    keys: tuple[str, ...],
    sequence: int,
    best_before: str,
    min_installer: str | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Sign BUNDLE in place. All roots go with it: 1.root.json and every later one.

    Several signers work in turn, each with the same sequence and best-before: what the others signed stays.
    """
    from bundles.archive.artifacts import carried_lock  # noqa: PLC0415 - as above
    from bundles.archive.reader import Archive, read_head  # noqa: PLC0415
    from bundles.archive.writer import sign_in_place  # noqa: PLC0415
    from bundles.trust.roles import Statement, end_of_day, release_signing, sign_release  # noqa: PLC0415
    from bundles.trust.signers import open_signer  # noqa: PLC0415
    from installer.cli.key import secret_from  # noqa: PLC0415

    earlier = _signed_before(path)
    with read_head(path, judge_region=False) as head:
        head.region.update(earlier)  # a delta's own says what lies where
        locked, index = carried_lock(Archive(head)), head.index
    try:
        statement = Statement(
            locked.product,
            locked.version,
            sequence,
            tuple(locked.platforms),
            datetime.now(UTC).replace(microsecond=0),
            end_of_day(best_before),
            min_installer,
        )
    except ValueError as error:
        raise UsageError(
            "statement-invalid",
            str(error),
            expected="a day to come, as YYYY-MM-DD",
            hint="give --best-before as YYYY-MM-DD, in the future, a --sequence below 2**53, versions as 1.2.3",
        ) from error
    secret = secret_from(passphrase_file)
    signers = [open_signer(key, secret) for key in keys]
    files = sign_release(index, statement, _root_files(roots), signers, earlier)
    sign_in_place(path, files)
    signing = release_signing(files)
    value = {"path": str(path), **statement.as_json(), "files": {name: len(data) for name, data in files.items()}}
    value |= {"threshold": signing.threshold, "signed": sorted(signing.signed), "missing": signing.missing}
    text = f"{path}\n  signed as {locked.product} {locked.version}, sequence {sequence}, usable until {best_before}"
    if signing.missing:
        left = ", ".join(one for keyid, one in signing.keys.items() if keyid not in signing.signed)
        text += f"\n  NOT COMPLETE: {signing.threshold} keys must sign, {signing.missing} missing, of {left}"
    Console(as_json=as_json).result("BundleSigned", {**value, "kind": "BundleSigned"}, text)


def _signed_before(path: Path) -> Mapping[str, bytes]:
    """Return what earlier signers left in the region; nothing of a torn one, which is signed anew."""
    from bundles.archive.reader import read_head  # noqa: PLC0415 - as above

    try:
        with read_head(path) as head:
            return head.region
    except MediaError:
        return {}


@bundle.command()
@click.argument("path", metavar="BUNDLE", type=FILE)
@volume_dirs_option
@trust_options
@at_least_option
@json_option
def verify(*, path: Path, folders: tuple[Path, ...], trust: Trust, at_least: int | None, as_json: bool) -> None:
    """Check BUNDLE against what a site trusts, to the last byte. Changes nothing."""
    from bundles import verify as verification  # noqa: PLC0415 - as above

    state = trust.state()
    if state is None:
        raise UsageError(
            "trust-missing",
            "a bundle is verified against something trusted beforehand",
            hint="give --home DIR, or --root 1.root.json with --fingerprint sha256:...",
        )
    console, began = Console(as_json=as_json), time.monotonic()
    verified = verification.verify(path, state, now=datetime.now(UTC), at_least=at_least, folders=folders)
    verified.check_all(console)
    seconds = time.monotonic() - began
    for warning in verified.warnings:
        console.note(f"warning: {warning}")
    value = {
        "path": str(path),
        **_release(verified.release, verified.archive.layout.size, verified.warnings),
        "seconds": round(seconds, 3),
    }
    release = verified.release
    text = (
        f"{path}: verified, every byte of {amount(verified.archive.layout.size)} in {seconds:.1f} s\n"
        f"  {release.product} {release.version}, sequence {release.sequence}, for {', '.join(release.platforms)}\n"
        f"  signed {release.issued:%Y-%m-%d %H:%M} UTC, best before {release.best_before:%Y-%m-%d %H:%M} UTC\n"
        f"  index {release.index}"
    )
    console.result("BundleVerified", value, text)


@bundle.command()
@click.argument("path", metavar="BUNDLE", type=FILE)
@volume_dirs_option
@trust_options
@json_option
def inspect(*, path: Path, folders: tuple[Path, ...], trust: Trust, as_json: bool) -> None:
    """List what BUNDLE holds, from its head alone. Without trust given, nothing of it is verified."""
    from bundles.verify import look  # noqa: PLC0415 - as above

    console, state = Console(as_json=as_json), trust.state()
    seen = look(path, state, now=datetime.now(UTC), folders=folders)
    if state is None:
        console.note("UNVERIFIED: anybody could have written this; give --home, or --root with --fingerprint")
    try:
        _print_contents(console, path, seen)
    finally:
        seen.close()


def _print_contents(console: Console, path: Path, seen: Look) -> None:
    from bundles.archive.artifacts import carried_lock  # noqa: PLC0415 - as above
    from bundles.archive.layout import DESCRIPTION, KIND, PRODUCT, VERSION  # noqa: PLC0415
    from registry.oci.manifest import REF_NAME  # noqa: PLC0415

    index, medium = seen.archive.index, seen.archive.medium
    product, version = (index.annotations.get(name, "") for name in (PRODUCT, VERSION))
    locked = carried_lock(seen.archive)
    sizes = {one.ref: one.size for one in locked.artifacts}
    licences = {one.ref: one.licence for one in locked.artifacts if one.licence}
    artifacts = [
        {
            "kind": one.annotations.get(KIND, ""),
            "ref": one.annotations.get(REF_NAME, ""),
            "digest": str(one.digest),
            "title": one.annotations.get(DESCRIPTION, ""),
            "size": sizes.get(one.annotations.get(REF_NAME, ""), one.size),
        }
        for one in index.children
    ]
    release = _release(seen.release, medium.size, seen.warnings) if seen.release else {}
    value = {
        "path": str(path),
        "verified": bool(release),
        "signed": seen.is_signed,
        "product": product,
        "version": version,
        "index": str(index.digest),
        "size": medium.size,
        "artifacts": artifacts,
        "licences": licences,
        "advisories": [one.model_dump() for one in locked.advisories or ()],
        **release,
    }
    if (left := seen.archive.delta) is not None:
        value["delta"] = {"base": left.base.model_dump(), "leftOut": len(left.leftOut)}
    state = "verified" if release else "signed, not checked" if seen.is_signed else "NOT SIGNED"
    volumes = f", volumes {len(medium.volumes.files)} of {medium.volumes.cut.count}" if medium.volumes else ""
    lines = [f"{path}: {product} {version}, {state}, {amount(medium.size)}{volumes}, index {index.digest}"]
    lines += [
        f"  {one['kind']:<10} {one['ref']}  {amount(one['size'])}  {one['title']}".rstrip()  # type: ignore[arg-type]
        for one in artifacts
    ]
    lines += [f"  advisory {one.id} ({one.severity}): {one.about}" for one in locked.advisories or ()]
    if left is not None:
        lines.insert(1, f"  a delta: {len(left.leftOut)} blobs are left out, for {left.base.name}")
    lines = [shown(line, kept="") for line in lines]  # a name with a line break in it would be two lines
    console.result("BundleInspected", value, "\n".join(lines))


def _release(release: Release, size: int, warnings: Sequence[str]) -> dict[str, Any]:
    return {
        "product": release.product,
        "version": release.version,
        "sequence": release.sequence,
        "platforms": list(release.platforms),
        "issued": release.issued.isoformat(),
        "bestBefore": release.best_before.isoformat(),
        "index": str(release.index),
        "size": size,
        "warnings": list(warnings),
    }


def _require_current(definition: Path, locked: str) -> None:
    from registry.oci.digest import Digest  # noqa: PLC0415 - as above

    try:
        seen = str(Digest.of(definition.read_bytes()))
    except OSError as error:
        raise DefinitionError(
            "definition-unreadable",
            error.strerror or str(error),
            where=str(definition),
            hint="name the definition that was locked; docs/definition.md shows one",
        ) from error
    if seen != locked:
        raise DefinitionError(
            "lock-outdated",
            "the definition was changed after it was locked",
            where=str(definition),
            expected=locked,
            seen=seen,
            hint=typed("dryport", "bundle", "lock", definition),
        )


def _root_files(paths: tuple[Path, ...]) -> list[bytes]:
    files = [file for path in paths for file in (sorted(path.glob("*.root.json")) if path.is_dir() else [path])]
    try:
        return [file.read_bytes() for file in files]
    except OSError as error:
        raise UsageError(
            "file-unreadable",
            error.strerror or str(error),
            where=str(error.filename),
            hint="give the root files, or the folder that holds them: --root DIR",
        ) from error
