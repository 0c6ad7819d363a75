"""What a person may write to say what is copied, and what it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.mirror.selection import Selection, Wanted
from registry.oci.digest import Digest

TAGS = ["1.1.0", "v1.2.0", "1.3.0-rc.1", "1.10", "2.0.0", "latest", "1.2.0_build.5"]
NUMBERS = st.tuples(*[st.integers(0, 50)] * 3)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("team/app", TAGS),
        ("team/app:v1.2.0", ["v1.2.0"]),
        ("team/app:1.*", ["1.1.0", "1.3.0-rc.1", "1.10", "1.2.0_build.5"]),
        ("team/app:>=1.2 <2", ["v1.2.0", "1.10", "1.2.0_build.5"]),
        ("team/app:>=1.2,<2", ["v1.2.0", "1.10", "1.2.0_build.5"]),
        ("team/app:>1.2.0", ["1.10", "2.0.0"]),
        ("team/app:>=1.3.0-rc.0 <1.4", ["1.3.0-rc.1"]),
        ("team/app:=2", ["2.0.0"]),
    ],
)
def test_a_line_takes_the_tags_that_it_means(text: str, taken: list[str]) -> None:
    assert [tag for tag in TAGS if Wanted.parse(text).takes(tag)] == taken


def test_a_digest_takes_one_manifest_and_no_tag() -> None:
    digest = Digest.of(b"x")
    wanted = Wanted.parse(f"team/app@{digest}")
    assert wanted.digest == digest
    assert not any(map(wanted.takes, TAGS))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Team/app",
        "team/app:",
        "team/app:a b",
        "team/../app",
        "team/*@" + str(Digest.of(b"x")),
        "app:>=x",
        "app:>=1 y",
    ],
)
def test_a_line_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Wanted.parse(text)


@given(NUMBERS, NUMBERS)
def test_a_range_compares_as_numbers_do(low: tuple[int, ...], tag: tuple[int, ...]) -> None:
    spelled = [".".join(map(str, one)) for one in (low, tag)]
    assert Wanted.parse(f"app:>={spelled[0]}").takes(spelled[1]) == (tag >= low)
    assert Wanted.parse(f"app:<{spelled[0]}").takes(spelled[1]) == (tag < low)


@given(st.text(max_size=80))
def test_any_text_is_a_line_or_a_value_error(text: str) -> None:
    try:
        wanted = Wanted.parse(text)
    except ValueError:
        return
    assert str(wanted) == text
    wanted.takes("1.0")


def test_named_repositories_need_no_catalogue() -> None:
    def refuse() -> list[str]:
        raise AssertionError("the catalogue was asked")

    assert Selection.of(["b:1", "a", "b:2"]).repositories(refuse) == ["a", "b"]


def test_globs_choose_from_the_catalogue_and_nothing_named_takes_all() -> None:
    names = ["team/app", "team/base", "other/app"]
    assert Selection.of(["team/*", "x/y"]).repositories(lambda: names) == ["team/app", "team/base", "x/y"]
    assert Selection.of([]).repositories(lambda: names) == sorted(names)


@pytest.mark.parametrize(
    ("platform", "is_taken"),
    [
        ({"os": "linux", "architecture": "amd64"}, True),
        ({"os": "linux", "architecture": "arm64", "variant": "v8"}, True),
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, True),
        ({"os": "linux", "architecture": "arm", "variant": "v6"}, False),
        ({"os": "windows", "architecture": "amd64"}, False),
        (None, True),
    ],
)
def test_platforms_are_taken_with_or_without_their_variant(platform: dict[str, str] | None, *, is_taken: bool) -> None:
    selection = Selection.of([], ["linux/amd64", "linux/arm64", "linux/arm/v7"])
    assert selection.takes_platform(platform) is is_taken


def test_a_platform_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="OS/ARCHITECTURE"):
        Selection.of([], ["amd64"])
