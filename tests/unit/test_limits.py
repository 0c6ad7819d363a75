"""Rate limits: buckets, whose address counts, and what a client is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from registry.server.limits import Buckets, Limits, Rate, address_of
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.store.store import Store
from tests.contracts.conftest import Wire, code, write_users


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = Buckets(Rate(per_second=2, burst=3))
    assert [buckets.take("a", 0) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a", 0) == 0.5
    assert buckets.take("b", 0) == 0
    assert buckets.take("a", 0.4) > 0
    assert buckets.take("a", 0.5) == 0
    assert [buckets.take("a", 1000) for _ in range(4)][:3] == [0, 0, 0]
    assert buckets.take("a", 1000) > 0


def test_what_is_given_back_can_be_taken_again_but_never_more_than_the_burst() -> None:
    buckets = Buckets(Rate(per_second=0.001, burst=1))
    for _ in range(5):
        assert buckets.take("a", 0) == 0
        buckets.give_back("a")
        buckets.give_back("a")
    assert buckets.take("a", 0) == 0
    assert buckets.take("a", 0) > 0


def test_a_clock_that_goes_back_fills_nothing() -> None:
    buckets = Buckets(Rate(per_second=1, burst=1))
    assert buckets.take("a", 100) == 0
    assert buckets.take("a", 50) > 0


def test_memory_is_bounded() -> None:
    buckets = Buckets(Rate(per_second=0.001, burst=1), kept=10)
    for number in range(1000):
        buckets.take(str(number), 0)
    assert len(buckets._levels) == 10


def test_without_a_rate_nothing_is_limited() -> None:
    assert not any(Buckets(Rate()).take("a", 0) for _ in range(1000))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "nonsense", ""),
        ("10.0.0.1", None, "10.0.0.1"),
        ("127.0.0.1", None, ""),
        ("::1", None, ""),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("", None, ""),
    ],
)
def test_only_a_named_proxy_is_believed(peer: str, forwarded: str | None, expected: str) -> None:
    assert address_of(peer, forwarded, Limits(proxies=frozenset({"10.0.0.1"}))) == expected


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Wire]:
    limits = Limits(
        identity=Rate(per_second=0.01, burst=5), failures=Rate(per_second=0.01, burst=4), limits_loopback=True
    )
    settings = Settings(users=write_users(tmp_path / "users"), access=tmp_path / "access", limits=limits)
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        yield Wire(running.url)


def test_who_asks_too_much_is_told_when_to_come_again_and_others_are_served(site: Wire) -> None:
    for _ in range(5):
        assert site.ask("GET", "/v2/").status == 200
    refused = site.ask("GET", "/v2/")
    assert code(refused) == (429, "TOOMANYREQUESTS")
    assert 1 <= int(refused.headers["Retry-After"]) <= 101
    assert site.as_user("reader").ask("GET", "/v2/").status == 200
    assert site.as_user(None).ask("GET", "/livez").status == 200


def test_guessing_ends_after_some_tries_even_with_the_right_password(site: Wire) -> None:
    assert site.ask("GET", "/v2/").status == 200
    guesses = [site.pool.request("GET", f"{site.url}/v2/", headers=login(f"reader:{one}")) for one in range(6)]
    assert [answer.status for answer in guesses] == [401] * 4 + [429] * 2
    assert site.as_user("reader").ask("GET", "/v2/").status == 429
    assert site.ask("GET", "/v2/").status == 200  # who was in already is not shut out by a neighbour
    other_way = urllib3.make_headers(basic_auth="reader:x")
    assert site.pool.request("GET", f"{site.url}/token", headers=other_way).status == 429
    form = {"grant_type": "password", "username": "reader", "password": "x"}
    assert site.pool.request("POST", f"{site.url}/token", fields=form, encode_multipart=False).status == 429


def test_right_passwords_use_nothing_up(site: Wire) -> None:
    for user in ("admin", "reader", "writer", "other", "nothing") * 3:
        assert site.pool.request("GET", f"{site.url}/token", headers=login(f"{user}:pw-{user}")).status == 200


def test_refusals_are_counted_and_noted(site: Wire, tmp_path: Path) -> None:
    for one in range(6):
        site.pool.request("GET", f"{site.url}/v2/", headers=login(f"reader:{one}"))
    lines = [json.loads(line) for file in (tmp_path / "access/audit").glob("*.jsonl") for line in file.open()]
    assert [(line["event"], line["tried"]) for line in lines] == [("login.refused", "reader")] * 4


def login(pair: str) -> dict[str, str]:
    return dict(urllib3.make_headers(basic_auth=pair))
