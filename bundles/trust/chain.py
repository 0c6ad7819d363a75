"""The root chain: how trust moves from the first root a site was given to the newest one, and no other way.

Root N+1 counts only if it is exactly one on and signed by a threshold of root N's keys and of its own (TUF 5.3). A root
the site knows must be the same in the bundle. Expiry is no matter here: a site that slept for years walks the chain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tuf.api.metadata import Metadata, Root

from bundles.archive.region import DELTA
from bundles.trust.detached import SIGNATURE, SIGSTORE
from bundles.trust.metadata import AGAIN, LIMITS, read, require_threshold
from registry.errors import TrustError
from registry.oci.digest import Digest

_MADE_LAST = {"metadata/timestamp.json", "metadata/snapshot.json"}
_SIGNED = {SIGNATURE, SIGSTORE, "metadata/targets.json"} | _MADE_LAST
_ROOT_NAME = re.compile(r"metadata/([1-9][0-9]{0,5})\.root\.json")


def follow(region: Mapping[str, bytes], trusted: Sequence[bytes]) -> tuple[tuple[bytes, ...], Root]:
    """Return all roots trusted after reading those in `region`, and the newest of them. Raises TrustError."""
    roots = _files(region)
    known = {root.signed.version: root for root in (read("a remembered root", data, Root) for data in trusted)}
    newest = max(known)
    if min(roots) > newest + 1 or max(roots) - min(roots) + 1 != len(roots):
        raise TrustError(
            "root-chain-gap",
            "the chain of roots in the bundle has a gap",
            where="metadata/",
            expected=f"every root after root {newest}, which this site trusts, one by one",
            seen=f"roots {', '.join(map(str, roots))}",
            hint="ask for a bundle signed with all roots: dryport bundle sign --root with the folder that holds them",
        )
    previous: Metadata[Root] | None = None
    accepted = list(trusted)
    for version, data in roots.items():
        root = read(f"metadata/{version}.root.json", data, Root)
        previous = known.get(version - 1, previous)
        _check(root, version, previous.signed if previous else None)
        if version in known and root.signed_bytes != known[version].signed_bytes:
            raise TrustError(
                "root-differs",
                f"root {version} of the bundle is not the one this site trusts",
                where=f"metadata/{version}.root.json",
                expected=str(Digest.of(known[version].signed_bytes)),
                seen=str(Digest.of(root.signed_bytes)),
                hint="this bundle is for another root of trust; ask its sender which site it is meant for",
            )
        if version > newest:
            accepted.append(data)
        previous = root
    newest_root = previous if previous and max(roots) > newest else known[newest]
    return tuple(accepted), newest_root.signed


def _files(region: Mapping[str, bytes]) -> dict[int, bytes]:
    found = {int(match[1]): data for name, data in region.items() if (match := _ROOT_NAME.fullmatch(name))}
    if not found and not _SIGNED & set(region):
        raise TrustError(
            "bundle-unsigned",
            "the bundle is not signed",
            expected="roots, timestamp, snapshot and targets in its reserved region",
            seen="no metadata" if not region else f"only {', '.join(sorted(region))[:200]}",
            hint="where it was built: dryport bundle sign BUNDLE --root DIR --key KEY --sequence N --best-before DAY",
        )
    missing = sorted(_SIGNED - set(region)) + ([] if found else ["metadata/1.root.json"])
    unknown = sorted(name for name in region if name not in _SIGNED | {DELTA} and not _ROOT_NAME.fullmatch(name))
    begun = set(missing) == _MADE_LAST  # by the first of several signers
    if missing or unknown or len(found) > LIMITS.roots:
        raise TrustError(
            ("release-below-threshold" if begun else "metadata-incomplete") if missing else "metadata-unexpected",
            "the reserved region does not hold exactly the files of a signed bundle",
            where="metadata/",
            expected=f"{', '.join(sorted(_SIGNED))} and 1 to {LIMITS.roots} roots",
            seen=f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown)[:200] or 'none'}; "
            f"{len(found)} roots",
            hint="let the missing signers go on: dryport bundle sign BUNDLE ..." if begun else AGAIN,
        )
    return dict(sorted(found.items()))


def _check(root: Metadata[Root], version: int, previous: Root | None) -> None:
    name = f"metadata/{version}.root.json"
    if root.signed.version != version:
        raise TrustError(
            "root-chain-gap",
            f"{name} holds another root",
            where=name,
            expected=f"version {version}",
            seen=f"version {root.signed.version}",
            hint=AGAIN,
        )
    if previous is not None:
        require_threshold(previous, root, name)  # TUF 5.3.4: by a threshold of the forerunner's keys ...
    require_threshold(root.signed, root, name)  # ... and of its own
