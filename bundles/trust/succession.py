"""The next root: what changes is said, everything else stays as the root before it has it.

A revocation is a root that no longer names the key. It reaches a site with the next bundle, and is kept even if the
rest of that bundle is refused (`bundles.trust.verify.follow_roots`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tuf.api.metadata import Root, Targets

from bundles.trust.keys import PublicKey
from bundles.trust.metadata import LIMITS, NAMES, label, read
from bundles.trust.roles import new_root
from registry.errors import UsageError

_LEAST_KEY_ID = 8


def next_root(
    previous: bytes,
    expires: datetime,
    *,
    root_keys: Sequence[PublicKey] = (),
    threshold: int | None = None,
    release_keys: Sequence[PublicKey] = (),
    release_threshold: int | None = None,
) -> bytes:
    """Return the unsigned root after `previous`; no keys given for a role means that it keeps its own.

    Raises TrustError if `previous` cannot be read, UsageError if a threshold cannot be reached.
    """
    before = read("previous root", previous, Root).signed
    if before.version >= LIMITS.roots:
        raise UsageError(
            "root-chain-full",
            "the chain of roots has reached its greatest length",
            expected=f"at most {LIMITS.roots} roots",
            seen=f"root {before.version}",
            hint="begin anew with a first root: dryport key init; every site needs its fingerprint on paper",
        )
    return new_root(
        root_keys or _keys(before, Root.type),
        before.roles[Root.type].threshold if threshold is None else threshold,
        release_keys or _keys(before, Targets.type),
        before.roles[Targets.type].threshold if release_threshold is None else release_threshold,
        expires,
        version=before.version + 1,
    )


def revoking_root(
    previous: bytes,
    expires: datetime,
    revoked: Sequence[str],
    *,
    root_keys: Sequence[PublicKey] = (),
    release_keys: Sequence[PublicKey] = (),
) -> bytes:
    """Return the unsigned root after `previous` without the `revoked` keys, and with the given ones added.

    A key is named by its name in the root, or by its id or the id's first eight digits or more. Thresholds stay: a
    revocation must not lower them in silence. Raises TrustError, UsageError.
    """
    before = read("previous root", previous, Root).signed
    gone = {_named(before, word) for word in revoked}
    for public in (*root_keys, *release_keys):
        if public.key.keyid in gone:
            raise UsageError(
                "key-revoked",
                f"the key {public.name} is to be revoked and to be added",
                seen=public.key.keyid[:12],
                hint="make a new key for its owner: dryport key new NAME --out DIR",
            )
    return next_root(
        previous,
        expires,
        root_keys=_replaced(before, Root.type, gone, root_keys),
        release_keys=_replaced(before, Targets.type, gone, release_keys),
    )


def _replaced(root: Root, role: str, gone: set[str], added: Sequence[PublicKey]) -> list[PublicKey]:
    kept = [public for public in _keys(root, role) if public.key.keyid not in gone]
    if not kept and not added:  # an empty list would mean: as before
        raise UsageError(
            "threshold-unreachable",
            f"no key is left in the {role} role",
            expected=f"at least {root.roles[role].threshold}",
            seen="0",
            hint="give a new key in the same command: --root KEY.pub or --release KEY.pub",
        )
    return [*kept, *added]


def _keys(root: Root, role: str) -> list[PublicKey]:
    names = root.unrecognized_fields.get(NAMES)
    known = names if isinstance(names, dict) else {}
    return [PublicKey(str(known.get(keyid, keyid[:12])), root.keys[keyid]) for keyid in root.roles[role].keyids]


def _named(root: Root, word: str) -> str:
    names = root.unrecognized_fields.get(NAMES)
    known = names if isinstance(names, dict) else {}
    found = {
        keyid
        for keyid in root.keys
        if word == known.get(keyid) or (len(word) >= _LEAST_KEY_ID and keyid.startswith(word))
    }
    if len(found) == 1:
        return found.pop()
    raise UsageError(
        "key-not-named",
        f"{word!r:.80} names {'more than one key' if found else 'no key'} of root {root.version}",
        expected=", ".join(label(root, keyid) for keyid in root.keys),
        hint="name it as `dryport key show ROOT.json` does, or by its key id",
    )
