"""What the site trusts: begun once by a fingerprint, never begun again on a site that has lived."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from bundles.archive.reader import read_head
from bundles.trust import memory
from bundles.trust.verify import TrustState, follow_roots
from bundles.trust.verify import fingerprint as seen_fingerprint
from bundles.verify import Verified, verify
from installer.site.home import Home
from installer.site.journal import Journal
from installer.site.state import State
from registry.errors import TrustError
from registry.oci.digest import Digest


def remembered(home: Home) -> TrustState:
    """Return what the site trusts. Raises TrustError if it trusts nothing yet, or has lost its memory."""
    found = memory.load(home.trust)
    if found is not None:
        return found
    _refuse_forgetful(home)
    raise TrustError(
        "site-without-trust",
        "this site trusts no root yet",
        where=str(home.trust),
        hint="dryport site trust site.yaml --root 1.root.json --fingerprint sha256:... (from another channel)",
    )


def verified(home: Home, bundle: Path, *, now: datetime, at_least: int | None = None) -> Verified:
    """Return the bundle, verified against what the site trusts. Raises TrustError or MediaError.

    Newer roots in it are remembered first, even if the rest is refused: one of them may revoke a key.
    """
    state = remembered(home)
    with read_head(bundle) as head:
        learned = follow_roots(head.region, state) if head.is_signed else state
    if len(learned.roots) > len(state.roots):
        with home.locked():
            memory.save(home.trust, learned)
            Journal.open(home.journal).append("roots-learned", newest=len(learned.roots))
    return verify(bundle, learned, now=now, at_least=at_least)


def accept(home: Home, verified: Verified) -> None:
    """Remember the release as taken in: nothing older is taken in from here on. The home is locked by the caller."""
    if memory.load(home.trust) == verified.state:
        return
    memory.save(home.trust, verified.state)
    release = verified.release
    Journal.open(home.journal).append(
        "release-accepted", product=release.product, sequence=release.sequence, index=str(release.index)
    )


def begin(home: Home, root: bytes, fingerprint: Digest) -> bool:
    """Make `root` the first one that the site trusts; say whether that is new.

    Raises TrustError if the fingerprint is not the root's, or the site trusts another first root.
    """
    state = TrustState.begin(root, fingerprint)
    before = memory.load(home.trust)
    if before is None:
        _refuse_forgetful(home)
        memory.save(home.trust, state)
        Journal.open(home.journal).append("trust-begun", root=str(fingerprint))
        return True
    first = seen_fingerprint(before.roots[0])
    if first != fingerprint:
        raise TrustError(
            "root-already-trusted",
            "this site trusts another first root",
            where=str(home.trust),
            expected=str(first),
            seen=str(fingerprint),
            hint="a root is replaced by its successor inside a bundle, never by hand",
        )
    return False


def _refuse_forgetful(home: Home) -> None:
    lived = [entry.event for entry in Journal.open(home.journal).entries]
    if State.load(home.state).release or "trust-begun" in lived:
        raise TrustError(
            "trust-memory-lost",
            "the site has lived, and its trust memory is gone",
            where=str(home.trust),
            expected="the trust.json that this site wrote",
            hint="bring back trust.json from a host or a backup; a site never starts afresh",
        )
