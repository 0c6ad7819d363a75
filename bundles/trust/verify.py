"""What a site believes: bytes, `now` and what it remembers go in; what it remembers next comes out, or a TrustError.

Nothing here reads a clock, a file or the network. The order, each step with its attacks in tests/attacks/:
* names and sizes; the root chain, each root exactly one on and signed by a threshold of its forerunner and of itself;
* timestamp, snapshot, targets, each by a threshold of distinct keys, bound to each other by version and sha256;
* `index.json` by length and sha256, and its signature for plain tools; the statement, read strictly;
* the sequence against memory (lower never, equal only with the same index), then what a person demands (`at_least`);
* time last: no clock is believed that is behind signed evidence; best-before is judged here, once, at import.

>>> state = TrustState.begin(first_root, Digest.parse("sha256:..."))
>>> state, release, warnings = judge(region, index, state, now=now)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from bundles.archive.region import DELTA
from bundles.trust import chain, detached
from bundles.trust.metadata import AGAIN, Kind, fingerprint, read, require_threshold
from bundles.trust.statement import Statement, spell
from registry.errors import TrustError
from registry.oci.digest import Digest

__all__ = ["Release", "TrustState", "fingerprint", "follow_roots", "judge"]

Entry = TypeVar("Entry", MetaFile, TargetFile)
TARGET, DELTA_TARGET = "index.json", "delta.json"
_ROOT_SOON = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Release:
    """What a threshold of release keys said of one bundle."""

    product: str
    version: str
    sequence: int
    platforms: tuple[str, ...]
    issued: datetime
    best_before: datetime
    index: Digest
    index_size: int
    min_installer: str | None = None
    """The lowest version of dryport that the signers let install it."""


@dataclass(frozen=True, slots=True)
class TrustState:
    """What a site remembers."""

    roots: tuple[bytes, ...]
    """Every root accepted, the first trusted one first."""
    floor: datetime
    """The newest signed evidence; it is never earlier than this."""
    accepted: Mapping[str, tuple[int, Digest]] = field(default_factory=dict)
    """Product to the sequence and the index digest accepted last."""

    @classmethod
    def begin(cls, first_root: bytes, fingerprint: Digest) -> TrustState:
        """Return the state of a site that trusts `first_root`, whose fingerprint a person got by another channel."""
        root = read("the first root", first_root, Root)
        seen = Digest.of(root.signed_bytes, fingerprint.algorithm)
        if seen != fingerprint:
            raise TrustError(
                "root-fingerprint-mismatch",
                "this is not the root whose fingerprint was given",
                expected=str(fingerprint),
                seen=f"{seen} (root {root.signed.version})",
                hint="compare with the paper: dryport key show ROOT.json; if they differ, do not use this medium",
            )
        require_threshold(root.signed, root, f"root {root.signed.version}")
        return cls((first_root,), datetime(1970, 1, 1, tzinfo=UTC))

    def accept(self, release: Release) -> TrustState:
        """Return the state after `release` was accepted; the same release again changes nothing."""
        accepted = {**self.accepted, release.product: (release.sequence, release.index)}
        return replace(self, floor=max(self.floor, release.issued), accepted=accepted)


def judge(
    region: Mapping[str, bytes], index: bytes, state: TrustState, *, now: datetime, at_least: int | None = None
) -> tuple[TrustState, Release, tuple[str, ...]]:
    """Return the state after accepting the bundle, its release, and warnings; or raise TrustError.

    `region` holds the files of the bundle's reserved region by their full names (`metadata/...`). The state returned
    is to be saved when the bundle is imported; a mere check drops it.
    """
    roots, root = chain.follow(region, state.roots)
    state = replace(state, roots=roots)
    timestamp = _signed(region, "metadata/timestamp.json", Timestamp, root)
    snapshot = _signed(region, "metadata/snapshot.json", Snapshot, root)
    targets = _signed(region, "metadata/targets.json", Targets, root)
    _bound("snapshot.json", timestamp.signed.snapshot_meta, region, snapshot)
    _bound("targets.json", _only("metadata/snapshot.json", "targets.json", snapshot.signed.meta), region, targets)
    listed = dict(targets.signed.targets)
    delta = TargetFile.from_data(DELTA_TARGET, region[DELTA], ["sha256"]) if DELTA in region else None
    if listed.pop(DELTA_TARGET, None) != delta:
        raise _mixed("what is left out as it was signed", "another list, or one of the two missing", DELTA)
    target = _only("metadata/targets.json", TARGET, listed)
    _check_index(target, index, region, root)
    release = _release(target, index)
    versions = [one.signed.version for one in (timestamp, snapshot, targets)]
    if {release.sequence, *versions} != {release.sequence}:
        raise _mixed(f"versions {release.sequence} everywhere, as the statement's sequence", f"{versions}")
    _check_sequence(release, state, at_least)
    expiries = (timestamp.signed.expires, snapshot.signed.expires, targets.signed.expires)
    _check_time(release, state, min(release.best_before, *expiries), now)
    return state.accept(release), release, _warnings(root, now)


def follow_roots(region: Mapping[str, bytes], state: TrustState) -> TrustState:
    """Return the state that knows the newer roots in `region`, even if the rest of the bundle will be refused.

    A root that revokes a key must be kept whatever else is on the stick: save this before `judge`. Raises TrustError.
    """
    return replace(state, roots=chain.follow(region, state.roots)[0])


def _signed(region: Mapping[str, bytes], name: str, kind: type[Kind], root: Root) -> Metadata[Kind]:
    metadata = read(name, region[name], kind)
    require_threshold(root, metadata, name)
    return metadata


def _only(name: str, wanted: str, entries: Mapping[str, Entry]) -> Entry:
    if set(entries) != {wanted}:
        raise _mixed(f"exactly one entry, {wanted}", ", ".join(sorted(entries))[:200] or "none", name)
    return entries[wanted]


def _bound(name: str, entry: MetaFile, region: Mapping[str, bytes], metadata: Metadata[Any]) -> None:
    data = region[f"metadata/{name}"]
    expected = f"version {entry.version}, {entry.length} bytes, sha256 {(entry.hashes or {}).get('sha256')}"
    seen = f"version {metadata.signed.version}, {len(data)} bytes, sha256 {Digest.of(data).hex}"
    if expected != seen:
        raise _mixed(expected, seen, f"metadata/{name}")


def _mixed(expected: str, seen: str, where: str = "metadata/") -> TrustError:
    message = "the signed files do not belong together"
    return TrustError("metadata-mixed", message, where=where, expected=expected, seen=seen, hint=AGAIN)


def _check_index(target: TargetFile, index: bytes, region: Mapping[str, bytes], root: Root) -> None:
    seen = Digest.of(index)
    if target.length != len(index) or target.hashes.get("sha256") != seen.hex:
        raise TrustError(
            "index-mismatch",
            "index.json is not the one that was signed",
            where=TARGET,
            expected=f"sha256:{target.hashes.get('sha256')}, {target.length} bytes",
            seen=f"{seen}, {len(index)} bytes",
            hint=AGAIN,
        )
    detached.check(region, index, root)


def _release(target: TargetFile, index: bytes) -> Release:
    try:
        stated = Statement.from_json(target.custom)
    except ValueError as error:
        raise TrustError(
            "statement-invalid",
            f"the signed statement cannot be read: {error}",
            where="metadata/targets.json",
            hint="use the dryport that came with the bundle; if that refuses it too, ask for a bundle signed anew",
        ) from error
    return Release(**asdict(stated), index=Digest.of(index), index_size=len(index))


def _check_sequence(release: Release, state: TrustState, at_least: int | None) -> None:
    last, digest = state.accepted.get(release.product, (0, release.index))
    seen = f"sequence {release.sequence}, {release.version}, issued {spell(release.issued)}"
    if release.sequence < last:
        raise TrustError(
            "release-rolled-back",
            f"this bundle of {release.product} is older than the one accepted last",
            expected=f"sequence {last} or higher",
            seen=seen,
            hint="use the newest bundle; to go back on purpose, sign the old content anew with a higher sequence",
        )
    if release.sequence == last and release.index != digest:
        raise TrustError(
            "release-sequence-reused",
            f"another bundle of {release.product} with this sequence was accepted before",
            expected=f"sequence {last} with index {digest}",
            seen=f"{seen}, index {release.index}",
            hint="ask the signer which of both is right, and for a new one with a higher sequence",
        )
    if at_least is not None and release.sequence < at_least:
        raise TrustError(
            "release-below-demanded",
            f"this bundle of {release.product} is older than what was demanded",
            expected=f"sequence {at_least} or higher (--at-least)",
            seen=seen,
            hint="get the newer bundle; someone who knows of it said that it exists",
        )


def _check_time(release: Release, state: TrustState, end: datetime, now: datetime) -> None:
    if now < (floor := max(state.floor, release.issued)):
        raise TrustError(
            "clock-behind-evidence",
            "this machine's clock is behind what was signed",
            expected=f"{spell(floor)} or later",
            seen=spell(now),
            hint="set the clock (date -u), then run the same command again",
        )
    # Best-before is judged at import only: what this site took in must stay installable after an incident.
    if now >= end and state.accepted.get(release.product) != (release.sequence, release.index):
        raise TrustError(
            "release-expired",
            f"{release.product} {release.version} is past its best-before",
            expected=f"an import before {spell(end)}",
            seen=spell(now),
            hint="get a newer bundle, or check this machine's clock (date -u)",
        )


def _warnings(root: Root, now: datetime) -> tuple[str, ...]:
    # An expired root is told, loudly, and is no brick: no site may become unable to install because of a date alone.
    if now >= root.expires:
        return (f"root {root.version} expired on {spell(root.expires)}: ask for a bundle with a newer root",)
    if now >= root.expires - _ROOT_SOON:
        return (f"root {root.version} expires on {spell(root.expires)}: the next bundle should bring a newer root",)
    return ()
