"""A publisher in memory: root people, release keys, and every bundle's metadata they can be made to sign.

It signs honestly through bundles.trust.roles; `resigned` makes what a holder of the real keys could make on purpose.
Keys are made when a publisher is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, MetaFile

from bundles.trust.detached import forms
from bundles.trust.keys import PublicKey
from bundles.trust.roles import Statement, new_root, sign_release, sign_root
from bundles.trust.signers import sign_detached
from bundles.trust.verify import TrustState, fingerprint, judge
from registry.errors import TrustError

DAY = timedelta(days=1)
NOW = datetime(2031, 6, 1, 12, tzinfo=UTC)
Region = dict[str, bytes]


def keys(count: int) -> list[Signer]:
    return [CryptoSigner.generate_ecdsa() for _ in range(count)]


class Publisher:
    """Two of three root people and one release key, unless told otherwise."""

    def __init__(self, *, release_keys: int = 1, release_threshold: int = 1, product: str = "quickstart") -> None:
        self.people = keys(3)
        self.release = keys(release_keys)
        self.release_threshold = release_threshold
        self.product = product
        self.roots: list[bytes] = []
        self.rotate()

    def rotate(
        self,
        *,
        people: Sequence[Signer] | None = None,
        release: Sequence[Signer] | None = None,
        signed_by: Sequence[Signer] | None = None,
        expires: datetime = NOW + 3650 * DAY,
        threshold: int = 2,
    ) -> bytes:
        """Add a root; by custom the first two people of the old and of the new root sign it."""
        old, self.people = self.people, list(people or self.people)
        self.release = list(release or self.release)
        root = new_root(
            [PublicKey(f"person{number}", one.public_key) for number, one in enumerate(self.people)],
            threshold,
            [PublicKey(f"release{number}", one.public_key) for number, one in enumerate(self.release)],
            self.release_threshold,
            expires,
            version=len(self.roots) + 1,
        )
        previous = self.roots[-1] if self.roots else None
        for one in signed_by if signed_by is not None else [*old[:2], *self.people[:2]]:
            root = sign_root(root, one, previous)
        self.roots.append(root)
        return root

    def begin(self) -> TrustState:
        return TrustState.begin(self.roots[0], fingerprint(self.roots[0]))

    def bundle(
        self,
        sequence: int = 1,
        *,
        content: str = "",
        signers: Sequence[Signer] | None = None,
        earlier: Region | None = None,
        **said: object,
    ) -> tuple[Region, bytes]:
        """Return a signed bundle's region and index; `said` replaces parts of the statement."""
        index = json.dumps({"content": content or f"release {sequence}"}).encode()
        statement: dict[str, Any] = {
            "product": self.product,
            "version": f"1.0.{sequence}",
            "sequence": sequence,
            "platforms": ("linux/amd64",),
            "issued": NOW - 10 * DAY + timedelta(minutes=sequence),
            "best_before": NOW + 180 * DAY,
        }
        signing = self.release[: self.release_threshold] if signers is None else signers
        return sign_release(index, Statement(**{**statement, **said}), self.roots, signing, earlier), index


def refused(
    region: Region, index: bytes, state: TrustState, *, now: datetime = NOW, at_least: int | None = None
) -> TrustError:
    """Return the error with which a bundle is refused; fail if it is not."""
    with pytest.raises(TrustError) as caught:
        judge(region, index, state, now=now, at_least=at_least)
    assert caught.value.hint
    return caught.value


def resigned(
    region: Region,
    role: str,
    change: Callable[[dict[str, Any]], None],
    signers: Sequence[Signer],
    *,
    rebind: bool = True,
) -> Region:
    """Return the region after `change` was made to a role's signed part, and all above it bound and signed anew."""
    value = json.loads(region[f"metadata/{role}.json"])["signed"]
    change(value)
    changed = dict(region)
    changed[f"metadata/{role}.json"] = signed(value, signers)
    above = {"targets": "snapshot", "snapshot": "timestamp"}.get(role)
    if above is None or not rebind:
        return changed
    bound = MetaFile.from_data(value["version"], changed[f"metadata/{role}.json"], ["sha256"]).to_dict()
    return resigned(changed, above, lambda one: one["meta"].update({f"{role}.json": bound}), signers)


def signed(value: dict[str, Any], signers: Sequence[Signer]) -> bytes:
    """Return a signed part with signatures by `signers`, whatever it says."""
    metadata: Metadata[Any] = Metadata.from_dict({"signed": json.loads(json.dumps(value)), "signatures": []})
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def plainly_signed(region: Region, index: bytes, signer: Signer) -> Region:
    """Return the region with a plain signature of another index, in both forms."""
    return {**region, **forms(sign_detached(signer, index), signer.public_key, index)}


def resign_same(data: bytes, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> bytes:
    """Return metadata whose list of signatures was changed and whose signed part was not."""
    value = json.loads(data)
    value["signatures"] = change(value["signatures"])
    return json.dumps(value).encode()
