"""Where a mirror keeps what others published, and what cannot be asked of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import DefinitionError
from registry.mirror import declared
from registry.mirror.mapping import Mapping, Mirror, Rule
from registry.oci.reference import Reference

SITE = "site.example:5000"
FILE = """
apiVersion: dryport/v1
kind: Mirrors
mirrors: [one.example:5000, two.example/hub]
origins:
  - docker.io
  - {origin: ghcr.io/fluxcd, place: flux}
direct: [registry.corp.example]
"""


def place(text: str, *origins: str) -> str:
    return declared.of((SITE,), origins).place(Reference.parse(text))


@pytest.mark.parametrize("name", ["nginx:1", "library/nginx:1", "docker.io/nginx:1", "index.docker.io/library/nginx:1"])
def test_a_short_name_is_the_full_one(name: str) -> None:
    assert place(name) == "docker.io/library/nginx"
    assert str(Reference.parse(name)) == "docker.io/library/nginx:1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("team/app:1", "docker.io/team/app"),
        ("ghcr.io/team/app:1", "ghcr.io/team/app"),
        ("GHCR.io/team/app:1", "ghcr.io/team/app"),
        ("registry.example:5000/app:1", "registry.example_5000/app"),
        ("localhost/app:1", "localhost/app"),
    ],
)
def test_an_origins_host_is_the_first_component(name: str, expected: str) -> None:
    assert place(name) == expected
    original = Mapping().original(expected)
    assert original is not None
    assert Mapping().place(original) == expected


def test_the_longest_origin_decides() -> None:
    rules = ("ghcr.io/team=team", "ghcr.io", "ghcr.io/team/app=other")
    for order in (rules, rules[::-1]):
        assert place("ghcr.io/team/app/web:1", *order) == "other/web"
        assert place("ghcr.io/team/app:1", *order) == "other"
        assert place("ghcr.io/team/application:1", *order) == "team/application"
        assert place("ghcr.io/teams/app:1", *order) == "ghcr.io/teams/app"


def test_what_no_rule_names_keeps_its_name() -> None:
    assert place("quay.io/team/app:1", "ghcr.io/team=team") == "quay.io/team/app"


def test_every_mirror_is_named_in_order_with_its_base_path() -> None:
    mapping = declared.of(("one.example", "two.example:5000/hub/site"), ("docker.io",))
    digest = f"sha256:{'a' * 64}"
    assert [str(one) for one in mapping.mirrored(Reference.parse(f"nginx:1@{digest}"))] == [
        f"one.example/docker.io/library/nginx:1@{digest}",
        f"two.example:5000/hub/site/docker.io/library/nginx:1@{digest}",
    ]


def test_an_origin_at_the_root_hides_no_other_registry() -> None:
    assert place("nginx:1", "docker.io=") == "library/nginx"
    assert place("ghcr.io/a/b:1", "docker.io=", "ghcr.io") == "ghcr.io/a/b"
    with pytest.raises(ValueError, match="taken for another registry's"):
        place("docker.io/ghcr.io/b:1", "docker.io=", "ghcr.io")


@pytest.mark.parametrize(
    "origins",
    [
        ("ghcr.io/a=x", "quay.io=x"),
        ("ghcr.io/a=x/y", "quay.io=x"),
        ("ghcr.io=quay.io",),
        ("ghcr.io/a=ghcr.io/b",),
        ("ghcr.io/a=registry.example_5000/b",),
        ("docker.io=", "ghcr.io/a=library"),
    ],
)
def test_two_originals_at_one_place_are_refused(origins: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="would both lie at"):
        declared.of((SITE,), origins)


@pytest.mark.parametrize(
    "origins",
    [
        ("ghcr.io/a=x", "quay.io=y"),
        ("ghcr.io", "ghcr.io/a=ghcr.io/a"),
        ("ghcr.io/a=x/y", "quay.io=x", "quay.io/y=z"),
        ("docker.io=", "ghcr.io"),
    ],
)
def test_places_that_never_meet_are_accepted(origins: tuple[str, ...]) -> None:
    assert len(declared.of((SITE,), origins).rules) == len(origins)


@pytest.mark.parametrize(
    ("mirrors", "origins", "direct", "why"),
    [
        ((SITE, f"{SITE}/base"), ("docker.io",), (), "a mirror is there twice"),
        ((SITE,), ("docker.io", "index.docker.io"), (), "an? origin is there twice"),
        ((SITE,), (SITE,), (), "not for itself"),
        ((SITE,), ("docker.io",), (SITE,), "neither a mirror nor an origin"),
        ((SITE,), ("docker.io",), ("docker.io",), "neither a mirror nor an origin"),
        (("registry",), ("docker.io",), (), "not a registry's host"),
        (("Site.example",), ("docker.io",), (), "lower case"),
        ((f"{SITE}/../up",), ("docker.io",), (), "not a repository name"),
        ((f"https://{SITE}",), ("docker.io",), (), "not a re"),
        ((SITE,), ("team",), (), "begins with a registry's host"),
        ((SITE,), ("ghcr.io/a=../up",), (), "not a repository name"),
        ((SITE,), ("ghcr.io/a=x/",), (), "not a repository name"),
    ],
)
def test_what_cannot_be_mapped_is_refused(
    mirrors: tuple[str, ...], origins: tuple[str, ...], direct: tuple[str, ...], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        declared.of(mirrors, origins, direct)


def test_a_place_longer_than_a_name_may_be_is_refused() -> None:
    with pytest.raises(ValueError, match="not a repository name"):
        declared.of((f"{SITE}/{'b' * 200}",), ()).mirrored(Reference.parse(f"ghcr.io/{'a' * 100}:1"))


def test_a_file_says_the_same_as_options(tmp_path: Path) -> None:
    (tmp_path / "mirrors.yaml").write_text(FILE)
    read = declared.read(tmp_path / "mirrors.yaml")
    assert read == declared.of(
        ("one.example:5000", "two.example/hub"), ("docker.io", "ghcr.io/fluxcd=flux"), ("registry.corp.example",)
    )
    assert read.mirrors == (Mirror("one.example:5000"), Mirror("two.example", "hub"))
    assert read.rules == (Rule("docker.io", "", "docker.io"), Rule("ghcr.io", "fluxcd", "flux"))
    assert read.hosts == ("docker.io", "ghcr.io")


@pytest.mark.parametrize(
    ("change", "reference", "seen"),
    [
        (("docker.io", "team"), "mirrors-unreadable", "begins with a registry's host"),
        (("kind: Mirrors", "kind: Mirror"), "mirrors-invalid", "kind"),
        (("direct:", "directly:"), "mirrors-invalid", "directly"),
        (("apiVersion", "  - ]"), "mirrors-unreadable", "mirrors.yaml"),
    ],
)
def test_a_file_that_is_wrong_names_what_is(tmp_path: Path, change: tuple[str, str], reference: str, seen: str) -> None:
    path = tmp_path / "mirrors.yaml"
    path.write_text(FILE.replace(*change))
    with pytest.raises(DefinitionError) as caught:
        declared.read(path)
    assert caught.value.reference == reference
    assert seen in str(caught.value.as_json())
