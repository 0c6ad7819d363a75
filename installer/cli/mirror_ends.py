"""What `mirror` commands have in common: both ends, what is copied between them, and where it lies there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from installer.cli.connecting import host_options, side_options
from installer.cli.places import FILE, Place, Side
from installer.cli.trusting import trust_options
from registry.errors import MediaError, UsageError

if TYPE_CHECKING:
    from registry.client.pace import Throttle
    from registry.content import ContentSource
    from registry.mirror.copy import Terms
    from registry.mirror.selection import Selection

limit_rate_option = click.option(
    "--limit-rate", metavar="MB/S", type=click.FloatRange(min=0.001), help="Over all streams."
)


def what_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what both ends of a copy need: selection, mapping, logins and trust."""
    for option in (
        trust_options,
        host_options,
        limit_rate_option,
        side_options("dst", "the registry copied to"),
        side_options("src", "the registry copied from"),
        click.option("--mirrors", "mapping", type=FILE, help="Where others' content lies there; see docs/runtimes.md."),
        click.option("--no-referrers", is_flag=True, help="Leave signatures, attestations and the like behind."),
        click.option(
            "--platform", "platforms", multiple=True, metavar="OS/ARCH", help="Only these; indexes keep their digests."
        ),
        click.option(
            "--only",
            multiple=True,
            metavar="REPOSITORY[:TAG]",
            help="Only these: names, globs (`team/*:v1.*`), ranges (`team/app:>=1.2 <2`), or @DIGEST; once for each.",
        ),
        click.option("--profile", type=FILE, help="Only the packs of a profile, with the images that they start."),
        click.option(
            "--pack",
            "packs",
            multiple=True,
            metavar="NAME[:VERSION]",
            help="Only this pack, with the images that it starts; a version may be a range; once for each.",
        ),
        click.argument("destination", metavar="DST"),
        click.argument("source", metavar="SRC"),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Ends:
    """Both ends, what is copied between them, and the file that says where others' content lies."""

    source: Side
    target: Side
    selection: Selection
    mapping: Path | None = None
    packs: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: str, destination: str, options: dict[str, Any]) -> Ends:
        """Return what the options say, which are taken out. Raises UsageError."""
        rate, reach = options.pop("limit_rate"), options.pop("reach")
        ends = Place.parse(source), Place.parse(destination)
        if source == destination:
            raise UsageError("ends-equal", "source and destination are the same", seen=source, hint="name two places")
        reach = replace(reach, rate=throttle(rate))
        reaches = [
            replace(reach, **{name: options.pop(f"{side}_{name}") for name in ("user", "password_file", "ca")})
            for side in ("src", "dst")
        ]
        only, platforms, alone = (options.pop(name) for name in ("only", "platforms", "no_referrers"))
        selection = _selection(only, platforms, ends[0], referrers=not alone)
        return cls(
            Side(ends[0], reaches[0], options.pop("trust")),
            Side(ends[1], reaches[1]),
            selection,
            options.pop("mapping"),
            _packs(options.pop("packs"), options.pop("profile")),
        )

    def chosen(self, source: ContentSource) -> Selection:
        """Return what is copied of the opened source; packs are looked up there, with what they start.

        Raises MediaError that names every pack and image that is not there.
        """
        if not self.packs:
            return self.selection
        from installer.cli.helming import ready_helm  # noqa: PLC0415 - most copies need neither
        from registry.mirror.packs import Packs  # noqa: PLC0415
        from registry.mirror.selection import Selection  # noqa: PLC0415

        place = self.source.place
        with ready_helm(None) as helm:
            found = Packs(source, place.base, place.host if place.is_registry else "", helm)
            lines = found.lines(self.packs)
        if found.faults:
            raise MediaError(
                "packs-incomplete",
                f"{len(found.faults)} thing(s) that the packs need are not at the source; nothing was copied",
                where=str(place),
                findings=found.faults,
                hint="bring them to the source, or name what is to be copied with --only",
            )
        named = [str(one) for one in self.selection.wanted if not place.base or str(one) != f"{place.base}/*"]
        return Selection.of([*named, *lines], self.selection.platforms, referrers=self.selection.referrers)

    def terms(self, streams: int | None = None) -> Terms:
        """Return how the copy goes about it. Raises UsageError, DefinitionError."""
        from registry.mirror.copy import STREAMS, Terms  # noqa: PLC0415 - `--help` need not wait for it

        ends = self.source.place, self.target.place
        is_same = ends[0].is_registry and ends[0].origin == ends[1].origin
        return Terms(_place(*ends, self.mapping), is_same_registry=is_same, streams=streams or STREAMS)

    def artefact(self, repository: str, name: str) -> tuple[str, str]:
        """Return kind and reference that content has in a bundle: a registry's has its full original reference."""
        if self.source.place.is_registry:
            return "image", f"{self.source.place.host}/{repository}{name}"
        return "content", f"{self.terms().place(repository)}{name}"

    def journal_file(self, folder: Path) -> Path:
        """Return this copy's file among others': named by its two ends."""
        name = hashlib.sha256(f"{self.source.place}\n{self.target.place}".encode()).hexdigest()[:16]
        return folder / f"{name}.sqlite"


def _packs(named: tuple[str, ...], profile: Path | None) -> tuple[str, ...]:
    """Return all packs that are named, one by one or by a profile. Raises DefinitionError."""
    if profile is None:
        return named
    from registry.profiles.model import Profile  # noqa: PLC0415 - as above

    return (*named, *(f"{one.pack}:{one.version}" for one in Profile.load(profile).packs))


def throttle(megabytes: float | None) -> Throttle | None:
    """Return what keeps streams to so much a second together; None without a limit."""
    from registry.client.pace import Throttle  # noqa: PLC0415 - `--help` need not wait for it

    return Throttle(megabytes * 1e6) if megabytes else None


def _selection(only: Sequence[str], platforms: Sequence[str], place: Place, *, referrers: bool) -> Selection:
    from registry.mirror.selection import Selection  # noqa: PLC0415 - as above

    try:
        lines = [place.below(one) for one in only] or ([f"{place.base}/*"] if place.base else [])
        return Selection.of(lines, platforms, referrers=referrers)
    except ValueError as error:
        raise UsageError(
            "selection-malformed",
            str(error),
            expected="REPOSITORY[:TAG], with globs or a version range, or REPOSITORY@DIGEST",
            hint="--only 'team/*:>=1.2 <2' --platform linux/amd64",
        ) from error


def _place(source: Place, target: Place, mapping: Path | None) -> Callable[[str], str]:
    """Return where a repository of the source lies at the target."""
    from registry.oci.reference import Reference  # noqa: PLC0415 - as above

    ruled = None
    if mapping:
        from registry.mirror import declared  # noqa: PLC0415 - most copies need no YAML

        ruled = declared.read(mapping)

    def place(repository: str) -> str:
        inside = source.inside(repository) or repository
        if ruled:
            host, _, path = (f"{source.host}/{inside}" if source.is_registry else inside).partition("/")
            inside = ruled.place(Reference(host, path))
        return target.below(inside)

    return place
