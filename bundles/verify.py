"""From a path to a `Verified`: the only way by which a bundle's content becomes usable.

Order: the head, bounded; trust in it; the chunk table by its digest; every header and padding. After that each byte of
content is proven when it is read, and `check_all` proves them all at once. Nothing is remembered here: `state` is what
the site would remember if it accepted this release, and the caller saves it when it does.

>>> verified = verify(path, state, now=datetime.now(UTC))
>>> verified.check_all(progress)
>>> source = verified.content()
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from bundles.archive import damage
from bundles.archive.layout import PRODUCT, VERSION
from bundles.archive.reader import Archive, Head, glance, read_head
from bundles.content import BundleContent
from bundles.delta import Find, require_base
from bundles.trust.verify import Release, TrustState, judge
from registry.content import Statement
from registry.errors import TrustError
from registry.progress import Progress

_MADE_HERE = object()


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle whose signatures, metadata and table of members are proven. Only `verify` makes one."""

    release: Release
    warnings: tuple[str, ...]
    state: TrustState
    archive: Archive
    proof: object = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.proof is not _MADE_HERE:
            raise TypeError("a Verified is made by bundles.verify.verify alone")

    def content(self, base: Find | None = None) -> BundleContent:
        """Return what a registry can serve from it, in place; what a delta leaves out comes from `base`.

        Raises MediaError `delta-base-missing` if that has not all of it.
        """
        require_base(self.archive, base)
        return BundleContent(self.archive, self._statement(), base)

    def _statement(self) -> Statement:
        one, medium = self.release, self.archive.medium
        said = (one.product, one.version, one.sequence, one.platforms, one.issued, one.best_before, one.index)
        return Statement(medium.path.name, medium.size, *said, self.warnings)

    def check_all(self, progress: Progress) -> None:
        """Read every byte. Raises MediaError `bundle-damaged` with every damaged stretch as a finding."""
        damage.check_all(self.archive, progress)

    def close(self) -> None:
        """Close the file; content made from it can no longer be read."""
        self.archive.close()


def verify(
    bundle: Path, state: TrustState, *, now: datetime, at_least: int | None = None, folders: Iterable[Path] = ()
) -> Verified:
    """Return the bundle as verified against what the site trusts; some of its volumes may lie in `folders`.

    Raises TrustError or MediaError.
    """
    head = read_head(bundle, folders)
    try:
        return _prove(head, state, now, at_least)
    except BaseException:
        head.close()
        raise


@dataclass(frozen=True, slots=True)
class Look:
    """What the head of a bundle says; `release` is None where nobody was trusted, and then anybody may have written it.

    Good for reading and comparing, never for installing: that takes a `Verified`.
    """

    archive: Archive
    is_signed: bool
    release: Release | None = None
    warnings: tuple[str, ...] = ()

    def close(self) -> None:
        """Close the file."""
        self.archive.close()


def look(
    bundle: Path, state: TrustState | None, *, now: datetime, folders: Iterable[Path] = (), is_whole: bool = True
) -> Look:
    """Read head and table alone: signatures are checked where something is trusted. Raises TrustError, MediaError.

    With `is_whole=False` volumes whose own header is damaged are passed over.
    """
    head = glance(bundle, folders, is_whole=is_whole)
    try:
        if state is None:
            return Look(Archive(head, is_whole=False), head.is_signed)
        _, release, warnings = judge(_signed_region(head), head.index, state, now=now)
        return Look(Archive(head, is_whole=False), head.is_signed, release, warnings)
    except BaseException:
        head.close()
        raise


def _signed_region(head: Head) -> Mapping[str, bytes]:
    """Return the files that signing put there. Raises TrustError if nobody signed."""
    if head.is_signed:
        return head.region
    raise TrustError(
        "bundle-unsigned",
        "nobody signed this bundle",
        where=str(head.medium.path),
        expected="signed metadata in the reserved region",
        seen="an empty region",
        hint="whoever built it signs it: dryport bundle sign BUNDLE --key release.pem --sequence N ...",
    )


def _prove(head: Head, state: TrustState, now: datetime, at_least: int | None) -> Verified:
    after, release, warnings = judge(_signed_region(head), head.index, state, now=now, at_least=at_least)
    _require_installer(release)
    archive = Archive(head)
    stated = tuple(archive.index.annotations.get(name, "") for name in (PRODUCT, VERSION))
    if stated != (release.product, release.version):
        raise TrustError(
            "release-mismatch",
            "the signed statement speaks of another release than index.json",
            where=str(head.medium.path),
            expected=f"{release.product} {release.version}",
            seen=" ".join(stated),
            hint="sign it again with the right product and version",
        )
    return Verified(release, warnings, after, archive, _MADE_HERE)


def _require_installer(release: Release) -> None:
    """Raise TrustError if the signers want a newer dryport than this one."""
    own = version("dryport")
    if release.min_installer is None or _ordered(own) >= _ordered(release.min_installer):
        return
    raise TrustError(
        "installer-too-old",
        f"{release.product} {release.version} is not for this dryport",
        expected=f"dryport {release.min_installer} or newer, as its signers say",
        seen=f"dryport {own}",
        hint="use the kit that came with the bundle, checked as docs/trust.md says",
    )


def _ordered(spelled: str) -> tuple[tuple[int, ...], bool]:
    """Return what orders versions: the numbers, then whether it is the release itself and not something before it."""
    numbers = re.match(r"\d+(\.\d+)*", spelled)
    found = numbers[0] if numbers else "0"
    return tuple(map(int, found.split("."))), found == spelled
