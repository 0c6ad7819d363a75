"""Mappings between original names and places at a mirror, whatever the rules: there and back, no two at one place."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from registry.mirror.mapping import Mapping, Mirror, Rule
from registry.oci.reference import NAME_BYTES, Reference

steady = settings(derandomize=True, deadline=None, max_examples=1000)
HOSTS = ["docker.io", "index.docker.io", "ghcr.io", "GHCR.io", "a.b:5000", "a.b", "localhost", "localhost:5000", "x:1"]
hosts = st.sampled_from(HOSTS)
parts = st.sampled_from(["a", "b", "library", "flux", "ghcr.io", "docker.io", "a.b_5000", "x_1", "a_b"])
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)
places = st.none() | st.just("") | paths
rules = st.builds(
    lambda host, path, place: Rule.parse(f"{host}/{path}" if path else host, place), hosts, paths | st.none(), places
)
originals = st.builds(Reference, hosts, paths)
bases = st.just("") | paths


def mapping(wanted: list[Rule], base: str = "") -> Mapping:
    try:
        return Mapping((Mirror("site.example:5000", base),), tuple(wanted))
    except ValueError:
        assume(False)
        raise


def same(original: Reference) -> tuple[str, str]:
    """What two names of the same content have in common."""
    parsed = Reference.parse(f"{original.host.lower()}/{original.repository}:x")
    return parsed.host, original.repository


@steady
@given(st.lists(rules, max_size=4), st.lists(originals, min_size=1, max_size=8))
def test_a_place_tells_its_original_and_no_two_share_one(wanted: list[Rule], names: list[Reference]) -> None:
    chosen = mapping(wanted)
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        try:
            place = chosen.place(name)
        except ValueError:
            continue
        back = chosen.original(place)
        assert back is not None
        assert same(back) == same(name)
        assert found.setdefault(place, same(name)) == same(name)


@steady
@given(st.lists(rules, max_size=3), originals, bases)
def test_a_place_stays_below_the_base_path_and_keeps_tag_and_digest(
    wanted: list[Rule], name: Reference, base: str
) -> None:
    try:
        (there,) = mapping(wanted, base).mirrored(Reference(name.host, name.repository, "1.0"))
    except ValueError:
        return
    assert (there.host, there.tag) == ("site.example:5000", "1.0")
    assert not base or there.repository.startswith(f"{base}/")
    assert ".." not in there.repository.split("/")
    assert len(there.repository) <= NAME_BYTES


@steady
@given(st.text(max_size=30), st.text(max_size=30) | st.none(), st.text(max_size=30))
def test_whatever_is_written_is_a_mapping_or_a_value_error(origin: str, place: str | None, mirror: str) -> None:
    try:
        made = Mapping((Mirror.parse(mirror),), (Rule.parse(origin, place),))
    except ValueError:
        return
    assert made.rules[0].origin


@steady
@given(st.lists(rules, max_size=3), st.text(alphabet="ab0._-/:", max_size=30))
def test_what_no_original_maps_to_has_none(wanted: list[Rule], place: str) -> None:
    chosen = mapping(wanted)
    found = chosen.original(place)
    assert found is None or chosen.place(found) == place
