"""A stock TUF client is the oracle: python-tuf's ngclient reads the same bundles and must come to the same end.

A history is a row of sticks that reach one site. Both readers get each stick at the same time, and both remember.
Where they differ on purpose, the list is here, and each entry is stricter on our side or named in the design:
* a release key changed by a newer root makes ngclient forget the sequence (TUF 5.3.11); we keep it;
* ngclient keeps the timestamp of a stick it then refuses, so that a later honest stick with a lower version is refused;
* an expired root ends ngclient's work; we warn;
* a clock behind signed evidence, a root that rewrites history and a damaged file that ngclient need not read are
  refused by us alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.publisher import DAY, NOW, Publisher, keys, resigned
from tests.stock_client import Oracle, Site, Stick


def without(stick: Stick, name: str) -> Stick:
    return {key: data for key, data in stick[0].items() if key != f"metadata/{name}"}, stick[1]


def strange(publisher: Publisher) -> Stick:
    region, index = Publisher().bundle(3)
    return {**region, "metadata/1.root.json": publisher.roots[0]}, index


def mixed(publisher: Publisher, name: str) -> Stick:
    region, index = publisher.bundle(3)
    other, _ = publisher.bundle(4)
    return {**region, f"metadata/{name}": other[f"metadata/{name}"]}, index


ATTACKS: dict[str, Callable[[Publisher], Stick]] = {
    "no timestamp": lambda p: without(p.bundle(3), "timestamp.json"),
    "no targets": lambda p: without(p.bundle(3), "targets.json"),
    "strange release key": strange,
    "another index": lambda p: (p.bundle(3)[0], b"another"),
    "past best-before": lambda p: p.bundle(3, best_before=NOW - DAY),
    "targets of another bundle": lambda p: mixed(p, "targets.json"),
    "snapshot of another bundle": lambda p: mixed(p, "snapshot.json"),
    "version jumped in targets alone": lambda p: (
        resigned(p.bundle(3)[0], "targets", lambda one: one.update(version=9), p.release, rebind=False),
        p.bundle(3)[1],
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_stock_client_refuses_what_we_refuse_and_takes_the_honest_twin(attack: str, tmp_path: Path):
    publisher = Publisher()
    oracle, site = Oracle(publisher.roots[0], tmp_path / "site"), Site(publisher)
    assert [one.accepts(ATTACKS[attack](publisher), NOW) for one in (oracle, site)] == [False, False]
    twin = Oracle(publisher.roots[0], tmp_path / "twin")
    assert [one.accepts(publisher.bundle(3), NOW) for one in (twin, site)] == [True, True]


def test_the_stock_client_follows_the_same_roots(tmp_path: Path):
    publisher = Publisher()
    oracle, site = Oracle(publisher.roots[0], tmp_path), Site(publisher)
    for sequence in range(1, 5):
        publisher.rotate(people=keys(3), release=keys(1))
        stick = publisher.bundle(sequence)
        assert [one.accepts(stick, NOW) for one in (oracle, site)] == [True, True]
    usurper = Publisher()
    usurper.roots = list(publisher.roots)
    usurper.people = keys(3)
    usurper.rotate(signed_by=usurper.people)
    forged = {**publisher.bundle(5)[0], "metadata/6.root.json": usurper.roots[-1]}
    assert [one.accepts((forged, publisher.bundle(5)[1]), NOW) for one in (oracle, site)] == [False, False]


STICKS = st.lists(
    st.tuples(
        st.integers(min_value=1, max_value=6),  # sequence
        st.sampled_from(["", "", "", "another content", "expired"]),
        st.integers(min_value=0, max_value=3),  # days that pass before it
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sticks=STICKS)
def test_any_history_of_sticks_by_the_same_keys_ends_alike_at_both(
    sticks: list[tuple[int, str, int]], tmp_path_factory: pytest.TempPathFactory
):
    publisher = Publisher()
    oracle, site = Oracle(publisher.roots[0], tmp_path_factory.mktemp("history")), Site(publisher)
    now, highest_refused = NOW, 0
    for sequence, kind, days in sticks:
        now += days * DAY
        content = "another" if kind == "another content" else ""
        best_before = now - DAY if kind == "expired" else NOW + 180 * DAY
        stick = publisher.bundle(sequence, content=content, best_before=best_before)
        ours, theirs = site.accepts(stick, now), oracle.accepts(stick, now)
        if ours != theirs:
            # The one listed difference that this history can bring: they remember a stick that they refused.
            assert ours, (sequence, kind)
            assert sequence <= highest_refused
        if not ours or not theirs:
            highest_refused = max(highest_refused, sequence)
