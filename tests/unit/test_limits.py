"""Rate limits: buckets, whose address counts, and what a client is told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.server.audit import entries
from registry.server.limits import Buckets, Limits, Rate, address_of
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.table import WIDTH, Table
from registry.store.store import Store
from tests.contracts.conftest import Wire, code, write_users
from tests.contracts.content_source import REPOSITORY
from tests.contracts.test_content_source import fill

steady = settings(derandomize=True, deadline=None, max_examples=200)


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


@pytest.mark.parametrize("is_shared", [False, True])
def test_memory_is_bounded_and_a_flood_of_others_fills_no_empty_bucket(is_shared: bool) -> None:
    buckets = Buckets(Rate(per_second=0.001, burst=3), table := Table(4, is_shared=is_shared))
    for _ in range(3):
        assert buckets.take("guesser", 0) == 0
    for number in range(10_000):
        buckets.take(str(number), 0)
    assert buckets.take("guesser", 0) > 0
    assert sum(mark > 0 for mark in table._cells) == len(table._cells)  # all in use, and there is no more of it
    assert len(table._cells) == 4 * WIDTH * 2


def test_two_limits_in_one_table_do_not_see_each_other() -> None:
    table = Table()
    one, other = (Buckets(Rate(per_second=0.001, burst=1), table, name) for name in ("one", "other"))
    assert [one.take("a", 0), other.take("a", 0)] == [0, 0]
    assert one.take("a", 0) > 0
    assert other.take("a", 0) > 0


@steady
@given(
    st.floats(0.01, 100),
    st.integers(1, 50),
    st.lists(st.tuples(st.sampled_from(["take", "take", "take", "back"]), st.integers(0, 10**9)), max_size=60),
)
def test_a_bucket_does_what_a_level_that_is_counted_by_hand_does(
    per_second: float, burst: int, steps: list[tuple[str, int]]
) -> None:
    buckets = Buckets(Rate(per_second, burst))
    level, now = Fraction(burst), Fraction(1)
    for step, pause in steps:
        passed = Fraction(pause, 10**9)
        level, now = min(Fraction(burst), level + passed * Fraction(per_second)), now + passed
        if abs(level - 1) < Fraction(1, 100):
            return  # so near that the rounding to nanoseconds may decide
        if step == "back":
            buckets.give_back("a")
            level = min(Fraction(burst), level + 1)
        elif wait := buckets.take("a", float(now)):
            assert level < 1
            assert wait == pytest.approx(float((1 - level) / Fraction(per_second)), rel=1e-2, abs=1e-6)
        else:
            assert level >= 1
            level -= 1


def test_many_processes_together_take_no_more_than_there_is() -> None:
    buckets = Buckets(Rate(per_second=0.001, burst=20_000), Table(1, is_shared=True))
    reader, writer = os.pipe()
    start, go = os.pipe()

    def take() -> int:
        os.close(go)
        os.read(start, 1)  # all at once
        os.write(writer, sum(buckets.take("a", 0) == 0 for _ in range(20_000)).to_bytes(4))
        return 0

    children = [forked(take) for _ in range(4)]
    os.close(go)
    taken = [int.from_bytes(os.read(reader, 4)) for _ in children]
    for child in children:
        os.waitpid(child, 0)
    assert sum(taken) == 20_000


def test_a_process_that_is_killed_while_it_holds_a_bucket_holds_up_nobody() -> None:
    table = Table(1, is_shared=True)
    buckets = Buckets(Rate(per_second=0.001, burst=2), table)
    reader, writer = os.pipe()

    def hold() -> int:
        with table.held("a"):
            os.write(writer, b"held")
            time.sleep(600)
        return 0

    child = forked(hold)
    try:
        assert os.read(reader, 4) == b"held"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(buckets.take, "a", 0)
            time.sleep(0.2)
            assert not waiting.done()
            os.kill(child, signal.SIGKILL)
            assert waiting.result(30) == 0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def forked(work: Callable[[], int]) -> int:
    """Run `work` in a child that ends with what it returns; return the child."""
    child = os.fork()
    if child:
        return child
    try:
        os._exit(work())
    finally:
        os._exit(255)


def test_without_a_rate_nothing_is_limited() -> None:
    assert not any(Buckets(Rate()).take("a", 0) for _ in range(1000))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, ", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("127.0.0.1", None, ""),
        ("::1", None, ""),
        ("::ffff:127.0.0.1", None, ""),
        ("fe80::1%eth0", None, "fe80::/64"),
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


@pytest.mark.parametrize("limit", ["identity", "address"])
def test_what_memory_answers_counts_as_well(tmp_path: Path, limit: str) -> None:
    limits = Limits(**{limit: Rate(per_second=0.01, burst=10)}, limits_loopback=True)
    settings = Settings(users=write_users(tmp_path / "users"), limits=limits)
    with Store.open(tmp_path / "store") as store, Running(settings, fill(store)) as running:
        wire = Wire(running.url)
        seen = [wire.ask("GET", f"/v2/{REPOSITORY}/manifests/1.0").status for _ in range(12)]
    assert seen == [200] * 10 + [429] * 2


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
    deadline = time.monotonic() + 10
    while len(lines := list(entries(tmp_path / "access/audit"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)  # a refusal's line follows its answer
    assert [(line["event"], line["tried"]) for line in lines] == [("login.refused", "reader")] * 4


def login(pair: str) -> dict[str, str]:
    return dict(urllib3.make_headers(basic_auth=pair))
