"""Lists of a server with a store and mounted content: one order, each entry once, only what a caller may see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from registry.content import Content, Paged
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_EMPTY, OCI_MANIFEST
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.contracts.conftest import Wire, body
from tests.oci_samples import descriptor

SUBJECT = descriptor(b"subject", OCI_MANIFEST)
STORED = ["a/public", "both/one", "both/two", "team/a", "team/z", "z/public"]
MOUNTED = ["a/private", "both/one", "both/two", "m/public", "team/m"]
GRANTS = {
    "all": ["pull:*"],
    "team": ["pull:team/*"],
    "scattered": ["pull:*/public", "pull,delete:both/one", "delete:team/*"],
    "one": ["pull:team/m"],
    "none": ["push:team/*"],
}


class Mounted:
    """A source that has its lists in memory, as a bundle does."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def repositories(self) -> Iterable[str]:
        return reversed(self._store.repositories())

    def tags(self, repository: str) -> Iterable[str]:
        return reversed(self._store.tags(repository))

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        return self._store.resolve(repository, tag)

    def manifest(self, repository: str, digest: Digest) -> tuple[bytes, str] | None:
        return self._store.manifest(repository, digest)

    def blob(self, repository: str, digest: Digest) -> Content | None:
        return self._store.blob(repository, digest)

    def referrers(self, repository: str, subject: Digest) -> Sequence[Descriptor]:
        return [*reversed(self._store.referrers(repository, subject))]

    def is_absent(self, repository: str, digest: Digest) -> bool:
        return self._store.is_absent(repository, digest)


def refer(store: Store, repository: str, number: int) -> Digest:
    """Put one of the manifests about the subject, tagged by its number."""
    store.put_blob(repository, Digest.of(b"{}"), [b"{}"])
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "a/third" if number % 3 == 0 else "a/other",
        "config": descriptor(b"{}", OCI_EMPTY).as_json(),
        "layers": [],
        "subject": SUBJECT.as_json(),
        "annotations": {"number": str(number)},
    }
    return store.put_manifest(repository, strictjson.canonical(value), OCI_MANIFEST, [f"t{number:02}"])


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder: Path = tmp_path_factory.mktemp("several")
    lines = (user_line(name, f"pw-{name}", grants, iterations=100_000) for name, grants in GRANTS.items())
    (folder / "users").write_text("\n".join(lines))
    with Store.open(folder / "own") as own, Store.open(folder / "mounted") as mounted:
        for store, names, numbers in ((own, STORED, range(12)), (mounted, MOUNTED, range(8, 20))):
            for name in names:
                store.put_blob(name, Digest.of(b"{}"), [b"{}"])
            for number in numbers:
                refer(store, "both/one", number)
        assert isinstance(own, Paged)
        mount = Mounted(mounted)
        assert not isinstance(mount, Paged)
        with Running(Settings(users=folder / "users"), own, [mount]) as running:
            yield Wire(running.url, "all")


def follow(wire: Wire, path: str, key: str) -> list[list[object]]:
    pages = []
    while path:
        answer = wire.ask("GET", path)
        pages.append(body(answer)[key])
        link = answer.headers.get("Link", "")
        path = link[1 : link.index(">")] if link else ""
    return pages


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("all", sorted({*STORED, *MOUNTED})),
        ("team", ["team/a", "team/m", "team/z"]),
        ("scattered", ["a/public", "both/one", "m/public", "z/public"]),
        ("one", ["team/m"]),
        ("none", []),
    ],
)
def test_the_catalogue_is_one_sorted_list_of_what_the_caller_may_pull(
    wire: Wire, user: str, expected: list[str], size: int
) -> None:
    pages = follow(wire.as_user(user), f"/v2/_catalog?n={size}", "repositories")
    assert [name for page in pages for name in page] == expected
    assert all(len(page) == size for page in pages[:-1])


@pytest.mark.parametrize("last", ["", "a", "both/one", "both/one0", "team/", "zz", "%F0%9F%9A%82", "%00", "~"])
def test_the_catalogue_goes_on_after_whatever_was_last(wire: Wire, last: str) -> None:
    found = body(wire.as_user("all").ask("GET", f"/v2/_catalog?last={last}"))["repositories"]
    known = sorted({*STORED, *MOUNTED})
    decoded = parse_qs(f"last={last}", keep_blank_values=True)["last"][0]
    assert found == [name for name in known if name > decoded]


@pytest.mark.parametrize("size", [1, 5, 100])
def test_tags_of_both_sources_are_one_list(wire: Wire, size: int) -> None:
    pages = follow(wire, f"/v2/both/one/tags/list?n={size}", "tags")
    assert [tag for page in pages for tag in page] == [f"t{number:02}" for number in range(20)]


@pytest.mark.parametrize(("kind", "expected"), [(None, 20), ("a/third", 7), ("a/nothing", 0)])
@pytest.mark.parametrize("size", [None, 1, 3, 100])
def test_referrers_of_both_sources_are_one_list_filter_and_page_kept(
    wire: Wire, kind: str | None, expected: int, size: int | None
) -> None:
    query = "&".join([f"artifactType={kind}"] * (kind is not None) + [f"n={size}"] * (size is not None))
    path = f"/v2/both/one/referrers/{SUBJECT.digest}?{query}"
    link = wire.ask("GET", path).headers.get("Link", "")
    if link:
        asked = parse_qs(urlsplit(link[1 : link.index(">")]).query)
        assert (asked.get("artifactType"), asked["n"]) == ([kind] if kind else None, [str(size)])
    found = [item for page in follow(wire, path, "manifests") for item in page]
    digests = [item["digest"] for item in found if isinstance(item, dict)]
    assert digests == sorted(set(digests))
    assert len(digests) == expected
