"""A site's inventory is small, signed, and read strictly; what it says decides only what a delta leaves out."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from securesystemslib.signer import CryptoSigner

from bundles.inventory import INVENTORY_BYTES, PREFIX_BYTES, Inventory
from registry.errors import TrustError
from registry.oci import strictjson
from registry.oci.digest import Digest

NOW = datetime(2031, 6, 1, 12, tzinfo=UTC)
SITE, OTHER = CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ecdsa()
BLOBS = [Digest.of(bytes([one])) for one in range(40)]
RELEASES = [("sample", 3, Digest.of(b"index")), ("another", 1, Digest.of(b"other index"))]
MADE = Inventory.of("alpha", NOW, RELEASES, BLOBS)


def refusal(data: bytes) -> str:
    with pytest.raises(TrustError) as caught:
        Inventory.read(data, SITE.public_key)
    assert caught.value.hint
    return caught.value.reference


def test_what_a_site_signed_is_read_back():
    found = Inventory.read(MADE.sign(SITE), SITE.public_key)
    assert found == MADE
    assert found.count == 40
    assert found.title == "site alpha as of 2031-06-01T12:00:00Z, which holds another sequence 1, sample sequence 3"
    holds = found.holder([*BLOBS, Digest.of(b"new")])
    assert [holds(one) for one in (BLOBS[0], BLOBS[39], Digest.of(b"new"))] == [True, True, False]


def test_five_thousand_blobs_take_less_than_100_kb():
    many = [Digest.of(f"blob {one}".encode()) for one in range(5000)]
    data = Inventory.of("alpha", NOW, RELEASES, many).sign(SITE)
    assert len(data) <= 100_000
    assert Inventory.read(data, SITE.public_key).count == 5000


def test_two_blobs_of_a_release_that_begin_alike_are_both_carried():
    one, begin = BLOBS[0], BLOBS[0].hex[: 2 * PREFIX_BYTES]
    like = Digest("sha256", begin + "0" * (64 - len(begin)))
    assert MADE.holder([one])(one)
    holds = MADE.holder([one, like])
    assert not holds(one)
    assert not holds(like)


def test_the_same_holdings_have_one_spelling():
    assert Inventory.of("alpha", NOW, reversed(RELEASES), [*reversed(BLOBS), BLOBS[3]]) == MADE


def test_another_key_and_a_changed_word_are_refused():
    assert refusal(MADE.sign(OTHER)) == "inventory-signature-invalid"
    value = json.loads(MADE.sign(SITE))
    value["inventory"]["site"] = "beta"
    assert refusal(strictjson.canonical(value)) == "inventory-signature-invalid"
    value = json.loads(MADE.sign(SITE))
    value["inventory"]["releases"][0]["sequence"] = 2
    assert refusal(strictjson.canonical(value)) == "inventory-signature-invalid"


@pytest.mark.parametrize(
    "changed",
    [
        {"blobs": "AAAA"},
        {"blobs": "!" * 16},
        {"blobs": "/" * 16 + "A" * 16},
        {"blobs": "A" * 32},
        {"issued": "2031-06-01"},
        {"site": "Alpha/../beta"},
        {"site": "a\nb"},
        {"releases": [{"product": "sample", "sequence": 0, "index": str(BLOBS[0])}]},
        {"releases": [{"product": "sample", "sequence": "1", "index": str(BLOBS[0])}]},
        {"releases": [{"product": name, "sequence": 1, "index": str(BLOBS[0])} for name in ("b", "a")]},
        {"more": 1},
    ],
)
def test_any_other_form_is_refused(changed: dict[str, object]):
    value = json.loads(MADE.sign(SITE))
    value["inventory"].update(changed)
    assert refusal(strictjson.canonical(value)) == "inventory-malformed"


def test_another_spelling_of_the_same_is_refused():
    data = MADE.sign(SITE)
    assert refusal(json.dumps(json.loads(data)).encode()) == "inventory-malformed"
    assert refusal(data + b"\n") == "inventory-malformed"
    assert refusal(data.replace(b'{"', b'{"kind":"SiteInventory","', 1)) == "inventory-malformed"


def test_what_is_too_large_is_not_parsed():
    assert refusal(b"[" * (INVENTORY_BYTES + 1)) == "inventory-malformed"
