"""Apt's file forms, read and written without apt."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.sources.apt import entries, repository, stanza
from bundles.sources.apt.entries import Entry, PackageSet, narrowed
from bundles.sources.apt.location import addresses, located
from registry.errors import DefinitionError, SiteError

BOOKWORM = PackageSet(("bookworm", "bookworm-updates"), ("main",), "amd64")
WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1)


def read(tmp_path: Path, name: str, text: str) -> list[Entry]:
    (tmp_path / name).write_text(text)
    return list(entries._read(tmp_path / name))


def test_a_deb822_file_gives_one_entry_for_each_server(tmp_path: Path) -> None:
    text = (
        "# the release\nTypes: deb deb-src\nURIs: http://a.example/debian https://b.example/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main contrib\nsigned-by: /usr/share/keyrings/a.gpg\n\n"
        "Types: deb\nEnabled: no\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n\n"
        "Types: deb-src\nURIs: http://source.example\nSuites: bookworm\nComponents: main\n"
    )
    found = read(tmp_path, "debian.sources", text)
    assert [entry.uri for entry in found] == ["http://a.example/debian", "https://b.example/debian"]
    assert found[0].suites == ("bookworm", "bookworm-updates")
    assert found[0].options == {"Signed-By": "/usr/share/keyrings/a.gpg"}


def test_an_embedded_key_stays_with_its_entry(tmp_path: Path) -> None:
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEZ\n -----END PGP PUBLIC KEY BLOCK-----\n"
    (found,) = read(tmp_path, "a.sources", f"Types: deb\nURIs: http://a\nSuites: s\nComponents: main\n{key}")
    assert key in found.render("amd64")


def test_a_one_line_file_is_read_with_its_options(tmp_path: Path) -> None:
    text = (
        "# deb http://comment.example bookworm main\n"
        "deb [arch=amd64,arm64 signed-by=/k.asc] http://a.example/debian bookworm main contrib # words\n"
        "deb-src http://a.example/debian bookworm main\ndeb http://b.example/debian bookworm-updates main\n"
    )
    first, second = read(tmp_path, "a.list", text)
    assert first.architectures == ("amd64", "arm64")
    assert first.components == ("main", "contrib")
    assert first.options == {"Signed-By": "/k.asc"}
    assert (second.uri, second.suites) == ("http://b.example/debian", ("bookworm-updates",))


def test_a_file_that_is_no_source_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SiteError) as caught:
        read(tmp_path, "broken.sources", "Types: deb\nthis is no field\n")
    assert caught.value.reference == "apt-sources-unreadable"
    assert caught.value.where.endswith("broken.sources")


def test_entries_are_cut_down_to_what_a_definition_wants() -> None:
    debian = Entry("http://a/debian", ("bookworm", "bookworm-updates", "bookworm-backports"), ("main", "contrib"))
    foreign = Entry("http://b/foreign", ("bookworm",), ("stable",))
    arm = Entry("http://c/debian", ("bookworm",), ("main",), ("arm64",))
    (kept,) = narrowed([debian, foreign, arm], BOOKWORM)
    assert (kept.uri, kept.suites, kept.components) == (debian.uri, BOOKWORM.suites, BOOKWORM.components)


@pytest.mark.parametrize(
    ("wanted", "reference"),
    [
        (PackageSet(("bookworm", "trixie"), ("main",), "amd64"), "apt-suite-unknown"),
        (PackageSet(("bookworm",), ("main", "contrib"), "amd64"), "apt-component-unknown"),
        (PackageSet(("bookworm",), ("main",), "riscv64"), "apt-suite-unknown"),
    ],
)
def test_what_no_entry_offers_is_refused(wanted: PackageSet, reference: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        narrowed([Entry("http://a", ("bookworm",), ("main",), ("amd64",))], wanted)
    assert caught.value.reference == reference


def test_a_package_is_found_again_on_another_server() -> None:
    uri = "http://a.example/debian/pool/main/t/tool_1.0%2bb1~x_amd64.deb"
    here = [Entry("http://a.example/debian/", ("bookworm",), ("main",)), Entry("http://a.example", ("x",), ("main",))]
    suites, path = located(uri, here)
    assert (suites, path) == (("bookworm",), "pool/main/t/tool_1.0+b1~x_amd64.deb")
    there = [Entry("https://mirror.example/d", ("bookworm",), ("main",))]
    assert addresses(path, there) == ("https://mirror.example/d/pool/main/t/tool_1.0%2Bb1~x_amd64.deb",)


@pytest.mark.parametrize("uri", ["mirror+file:/etc/apt/m.list/pool/a.deb", "http://a.example/debian/../secret"])
def test_an_address_outside_its_entry_is_refused(uri: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        located(uri, [Entry("http://a.example/debian", ("bookworm",), ("main",))])
    assert caught.value.reference == "apt-scheme-unsupported"


@given(st.lists(st.dictionaries(st.from_regex(r"[A-Z][a-z0-9-]{0,10}", fullmatch=True), WORD, min_size=1)))
def test_what_is_written_as_stanzas_is_read_back(stanzas: list[dict[str, str]]) -> None:
    assert list(stanza.parse("".join(map(stanza.render, stanzas)))) == stanzas


def test_the_release_file_vouches_for_the_package_list() -> None:
    fields = {"Package": "tool", "Version": "2:1.0~b", "Architecture": "all", "Homepage": "http://x", "MD5sum": "0"}
    packages = repository.packages_file([fields | {"Filename": "pool/main/t/x.deb", "Size": "7", "SHA256": "0" * 64}])
    assert "Filename: pool/tool_1.0~b_all.deb\n" in packages
    assert "Homepage" not in packages
    assert "MD5" not in packages
    date = datetime.fromisoformat("2025-11-01T12:00:00+02:00")
    release = repository.release_file("amd64", packages, date)
    assert "Date: Sat, 01 Nov 2025 10:00:00 UTC\n" in release
    assert f" {len(packages.encode())} main/binary-amd64/Packages\n" in release
    assert not release.endswith("\n\n")
