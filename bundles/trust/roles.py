"""What signers do: the root ceremony, and the metadata of a release.

* A root is written unsigned, then each person adds one signature on a machine of their own; a key counts once.
* A release is signed by the release keys of the newest root, and judged as a site would before it is handed out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time

from securesystemslib.signer import Key, Signature, Signer
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from bundles.archive.region import DELTA
from bundles.trust.detached import forms
from bundles.trust.keys import PublicKey
from bundles.trust.metadata import NAMES, Kind, label, material, read
from bundles.trust.signers import public_key, sign_detached
from bundles.trust.statement import Statement, spell
from bundles.trust.verify import DELTA_TARGET, TARGET, TrustState, fingerprint, judge
from registry.errors import TrustError, UsageError
from registry.oci.digest import Digest

__all__ = [
    "Ceremony",
    "Statement",
    "ceremony",
    "end_of_day",
    "new_root",
    "release_signing",
    "sign_release",
    "sign_root",
]
_TARGETS = "metadata/targets.json"


@dataclass(frozen=True, slots=True)
class Signing:
    """How far one set of signatures has come."""

    role: str
    threshold: int
    keys: Mapping[str, str]
    """Key id to its label."""
    signed: frozenset[str]

    @property
    def missing(self) -> int:
        """How many more keys have to sign."""
        return max(0, self.threshold - len(self.signed))


@dataclass(frozen=True, slots=True)
class Ceremony:
    """A root, and who has signed it."""

    version: int
    fingerprint: Digest
    expires: datetime
    signings: tuple[Signing, ...]
    """By its own root keys, and by those of the root before it if that was given."""
    roles: tuple[Signing, ...]
    """The other roles: their thresholds and keys (nothing to sign here)."""

    @property
    def is_complete(self) -> bool:
        """Whether a site can trust this root."""
        return not self.lacks_previous and not any(signing.missing for signing in self.signings)

    @property
    def lacks_previous(self) -> bool:
        """Whether the keys of the root before it have a say, and that root was not given."""
        return self.version > 1 and len(self.signings) == 1


def new_root(
    root_keys: Sequence[PublicKey],
    threshold: int,
    release_keys: Sequence[PublicKey],
    release_threshold: int,
    expires: datetime,
    *,
    version: int = 1,
) -> bytes:
    """Return an unsigned root. Raises UsageError.

    Any one release key signs snapshot and timestamp: they only bind versions and digests, and what a release is stands
    in the targets, which the release threshold signs. So signers can work in turn: a snapshot binds finished targets.
    """
    everyone = [*root_keys, *release_keys]
    twice = len({material(public.key) for public in everyone}) != len(everyone)
    if twice:
        raise UsageError(
            "key-given-twice",
            "each key has one place, in the root role or in the release role, once",
            hint="make a key for each place: dryport key new NAME --out DIR",
        )
    for role, keys, wanted in (("root", root_keys, threshold), ("release", release_keys, release_threshold)):
        if not 1 <= wanted <= len(keys):
            raise UsageError(
                "threshold-unreachable",
                f"the {role} threshold cannot be reached",
                expected=f"1 to {len(keys)}, the number of {role} keys",
                seen=str(wanted),
                hint="give more keys, or a lower threshold",
            )
    release = [public.key.keyid for public in release_keys]
    thresholds = {"targets": release_threshold, "snapshot": 1, "timestamp": 1}
    roles = {name: Role(list(release), wanted) for name, wanted in thresholds.items()}
    roles["root"] = Role([public.key.keyid for public in root_keys], threshold)
    root = Root(
        version,
        expires=expires.astimezone(UTC),
        keys={public.key.keyid: public.key for public in everyone},
        roles=roles,
        consistent_snapshot=False,  # the region's file names bear no versions
        unrecognized_fields={NAMES: {public.key.keyid: public.name for public in everyone}},
    )
    return Metadata(root).to_bytes()


def sign_root(root: bytes, signer: Signer, previous: bytes | None = None) -> bytes:
    """Return `root` with one signature more; unchanged if this key has signed it already. Raises TrustError."""
    metadata = read("root", root, Root)
    authorities = [metadata.signed] + ([_previous(metadata.signed, previous)] if previous else [])
    before = metadata.signatures.copy()
    for authority in authorities:
        key = _own_key(authority, Root.type, signer)
        if key is not None:
            result = authority.get_verification_result(Root.type, metadata.signed_bytes, before)
            if key.keyid not in result.signed:
                metadata.signatures[key.keyid] = Signature(key.keyid, signer.sign(metadata.signed_bytes).signature)
    if not any(_own_key(authority, Root.type, signer) for authority in authorities):
        raise _foreign(signer, metadata.signed, Root.type)
    return metadata.to_bytes() if metadata.signatures != before else root


def ceremony(root: bytes, previous: bytes | None = None) -> Ceremony:
    """Return what `root` says and who has signed it. Raises TrustError if it cannot be read."""
    metadata = read("root", root, Root)
    signings = [_signing(metadata.signed, metadata, f"root {metadata.signed.version}")]
    if previous:
        before = _previous(metadata.signed, previous)
        signings.insert(0, _signing(before, metadata, f"root {before.version}"))
    others = tuple(
        Signing(name, role.threshold, {keyid: label(metadata.signed, keyid) for keyid in role.keyids}, frozenset())
        for name, role in sorted(metadata.signed.roles.items())
        if name != Root.type
    )
    return Ceremony(metadata.signed.version, fingerprint(root), metadata.signed.expires, tuple(signings), others)


def sign_release(
    index: bytes,
    statement: Statement,
    roots: Sequence[bytes],
    signers: Sequence[Signer],
    earlier: Mapping[str, bytes] | None = None,
) -> dict[str, bytes]:
    """Return the files of the reserved region, by full name. Raises TrustError.

    `roots` are all roots from 1 on, in any order. Refused are keys the newest root does not name, and a root that
    expires before the release's best-before. `earlier` is the region as signers before these left it: their signatures
    are kept if they say the same of the same index, but for the time of issue, which stays theirs. What a delta leaves
    out stands in it already, and becomes a second target. Until the release
    threshold is met the region lacks snapshot and timestamp, and no site accepts it.
    """
    chain = sorted((read("root", root, Root).signed.version, root) for root in roots)
    if not chain or not signers or [version for version, _ in chain] != list(range(1, len(chain) + 1)):
        raise TrustError(
            "root-chain-gap" if signers else "release-below-threshold",
            "a release needs every root from 1 on, and at least one release key",
            seen=f"roots {', '.join(str(version) for version, _ in chain) or 'none'}; {len(signers)} key(s)",
            hint="give the folder with 1.root.json and all later ones",
        )
    root = read("root", chain[-1][1], Root).signed
    if root.expires < statement.best_before:
        raise TrustError(
            "root-expires-first",
            f"root {root.version} expires before the release's best-before",
            expected=f"best-before {spell(root.expires)} or earlier",
            seen=spell(statement.best_before),
            hint="choose an earlier best-before, or make a newer root first",
        )
    earlier = earlier or {}
    stated, signatures = _continued(index, statement, root, earlier)
    version, expires = stated.sequence, stated.best_before
    targets = _signed(
        Targets(version, expires=expires, targets=_targets(index, stated, earlier)), root, signers, signatures
    )
    region = {f"metadata/{version}.root.json": data for version, data in chain} | {
        _TARGETS: targets,
        **forms(sign_detached(signers[0], index), public_key(signers[0]), index),
    }
    region |= {DELTA: earlier[DELTA]} if DELTA in earlier else {}
    if release_signing(region).missing:
        return region
    bound = MetaFile.from_data(version, targets, ["sha256"])
    snapshot = _signed(Snapshot(version, expires=expires, meta={"targets.json": bound}), root, signers)
    bound = MetaFile.from_data(version, snapshot, ["sha256"])
    timestamp = _signed(Timestamp(version, expires=expires, snapshot_meta=bound), root, signers)
    region |= {"metadata/timestamp.json": timestamp, "metadata/snapshot.json": snapshot}
    first = chain[0][1]
    judge(region, index, TrustState.begin(first, fingerprint(first)), now=stated.issued)
    return region


def release_signing(region: Mapping[str, bytes]) -> Signing:
    """Return how far the release signatures in a region have come, by the newest root in it. Raises TrustError."""
    roots = [read(name, data, Root).signed for name, data in region.items() if name.endswith(".root.json")]
    return _signing(max(roots, key=lambda one: one.version), read(_TARGETS, region[_TARGETS], Targets), "release")


def end_of_day(text: str) -> datetime:
    """Return the last second, in UTC, of the day that `2031-12-31` spells: a best-before day is usable to its end."""
    return datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)


def _targets(index: bytes, statement: Statement, region: Mapping[str, bytes]) -> dict[str, TargetFile]:
    """Return what is signed: the release, and of a delta what it leaves out."""
    found = {TARGET: _target(index, statement)}
    if DELTA in region:
        found[DELTA_TARGET] = TargetFile.from_data(DELTA_TARGET, region[DELTA], ["sha256"])
    return found


def _target(index: bytes, statement: Statement) -> TargetFile:
    target = TargetFile.from_data(TARGET, index, ["sha256"])
    target.unrecognized_fields["custom"] = statement.as_json()
    return target


def _continued(
    index: bytes, statement: Statement, root: Root, earlier: Mapping[str, bytes]
) -> tuple[Statement, dict[str, Signature]]:
    """Return the statement with the earlier signers' time of issue, and their signatures that hold; or neither."""
    if _TARGETS not in earlier:
        return statement, {}
    try:
        metadata = read(_TARGETS, earlier[_TARGETS], Targets)
        target = metadata.signed.targets.get(TARGET)
        said = Statement.from_json(target.custom if target else None)
    except (TrustError, ValueError):  # damaged, or another's: it can be signed anew
        return statement, {}
    same = replace(statement, issued=said.issued) == said
    if not same or metadata.signed.targets != _targets(index, said, earlier):
        return statement, {}
    result = root.get_verification_result(Targets.type, metadata.signed_bytes, metadata.signatures)
    kept = {keyid: metadata.signatures[keyid] for keyid in result.signed}
    return (said, kept) if kept else (statement, {})


def _signed(
    payload: Kind, root: Root, signers: Sequence[Signer], earlier: Mapping[str, Signature] | None = None
) -> bytes:
    metadata: Metadata[Kind] = Metadata(payload, dict(earlier or {}))
    for signer in signers:
        key = _own_key(root, payload.type, signer)
        if key is None:
            raise _foreign(signer, root, payload.type)
        metadata.signatures[key.keyid] = Signature(key.keyid, signer.sign(metadata.signed_bytes).signature)
    return metadata.to_bytes()


def _own_key(root: Root, role: str, signer: Signer) -> Key | None:
    """Return the key of `role` that is the signer's own, by material: a root may give it any id."""
    own = material(public_key(signer))
    keys = [root.keys[keyid] for keyid in root.roles[role].keyids]
    return next((key for key in keys if material(key) == own), None)


def _previous(root: Root, data: bytes) -> Root:
    before = read("previous root", data, Root).signed
    if before.version + 1 != root.version:
        raise UsageError(
            "root-not-next",
            "the root given as the one before it is another one",
            expected=f"root {root.version - 1}",
            seen=f"root {before.version}",
            hint=f"give --previous {root.version - 1}.root.json",
        )
    return before


def _signing(by: Root, metadata: Metadata[Kind], role: str) -> Signing:
    kind = metadata.signed.type
    result = by.get_verification_result(kind, metadata.signed_bytes, metadata.signatures)
    keys = {keyid: label(by, keyid) for keyid in by.roles[kind].keyids}
    return Signing(role, result.threshold, keys, frozenset(result.signed))


def _foreign(signer: Signer, root: Root, role: str) -> TrustError:
    return TrustError(
        "key-not-in-root",
        f"this key is not one of the {role} keys of root {root.version}",
        expected=", ".join(label(root, keyid) for keyid in root.roles[role].keyids),
        seen=public_key(signer).keyid[:12],
        hint="use one of these keys, or make a newer root that names this one",
    )
