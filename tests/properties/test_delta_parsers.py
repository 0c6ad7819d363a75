"""Whatever the bytes are, an inventory and a delta's list are read in one spelling or refused by our own errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from bundles.archive.delta import Base, Delta
from bundles.inventory import Inventory
from registry.errors import TrustError
from registry.oci.digest import Digest

steady = settings(derandomize=True, deadline=None, max_examples=150)
SITE = CryptoSigner.generate_ecdsa()
digests = st.binary(min_size=32, max_size=32).map(lambda data: Digest("sha256", data.hex()))
times = st.integers(0, 10**9).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
DELTA = Delta(
    index=str(Digest.of(b"index")),
    base=Base(kind="Release", name="sample 1.0.0", digest=str(Digest.of(b"base"))),
    leftOut=tuple(sorted(Digest.of(bytes([one])).hex for one in range(5))),
).encode()
SIGNED = Inventory.of(
    "alpha",
    datetime(2031, 1, 1, tzinfo=UTC),
    [("sample", 1, Digest.of(b"index"))],
    [Digest.of(bytes([one])) for one in range(5)],
).sign(SITE)


@steady
@given(st.sets(digests, max_size=50), times)
def test_an_inventory_gives_back_what_was_put_in(blobs: set[Digest], issued: datetime):
    found = Inventory.read(Inventory.of("alpha", issued, [], blobs).sign(SITE), SITE.public_key)
    assert found.count == len({one.hex[:24] for one in blobs})
    assert all(map(found.holder(blobs), blobs)) or found.count < len(blobs)


@steady
@given(st.sets(digests, min_size=1, max_size=50), st.text(max_size=30))
def test_a_list_gives_back_what_was_put_in(blobs: set[Digest], name: str):
    try:
        base = Base(kind="Inventory", name=name, digest=str(Digest.of(b"base")))
    except ValueError:
        return
    made = Delta(index=str(Digest.of(b"")), base=base, leftOut=tuple(sorted(one.hex for one in blobs)))
    assert Delta.parse(made.encode()) == made


@steady
@given(st.binary(max_size=2000))
def test_any_bytes_are_refused_by_our_own_errors(data: bytes):
    try:
        Inventory.read(data, SITE.public_key)
    except TrustError:
        pass
    else:
        raise AssertionError(data)
    try:
        Delta.parse(data)
    except ValueError:
        return
    raise AssertionError(data)


@steady
@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_no_byte_of_an_inventory_may_change(at: int, by: int):
    changed = bytearray(SIGNED)
    changed[at] ^= by
    try:
        Inventory.read(bytes(changed), SITE.public_key)
    except TrustError:
        return
    raise AssertionError(at)


@steady
@given(st.integers(0, len(DELTA) - 1), st.integers(1, 255))
def test_a_changed_list_is_another_list_or_none(at: int, by: int):
    changed = bytearray(DELTA)
    changed[at] ^= by
    try:
        found = Delta.parse(bytes(changed))
    except ValueError:
        return
    assert found.encode() == bytes(changed) != DELTA
