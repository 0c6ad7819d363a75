"""Lists of tags (end-8) over a store and mounted content together: pages of one sorted list, also while it changes."""

from __future__ import annotations

from pathlib import Path

from registry.oci.manifest import OCI_MANIFEST
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.store.store import Store
from tests.contracts.conftest import Wire, body, write_users
from tests.oci_samples import image

SAMPLE = image()


def fill(store: Store, tags: list[str]) -> Store:
    for digest, data in SAMPLE.blobs.items():
        store.put_blob("team/app", digest, [data])
    store.put_manifest("team/app", SAMPLE.manifest, OCI_MANIFEST, tags)
    return store


def pages(wire: Wire, path: str) -> list[list[str]]:
    found = []
    while path:
        answer = wire.ask("GET", path)
        found.append(body(answer)["tags"])
        link = answer.headers.get("Link", "")
        path = link[1 : link.index(">")] if link else ""
    return found


def test_pages_go_through_a_store_and_a_mount_as_one_list(tmp_path: Path) -> None:
    settings = Settings(users=write_users(tmp_path / "users"))
    with (
        Store.open(tmp_path / "store") as store,
        Store.open(tmp_path / "other") as other,
        Running(settings, fill(store, ["a", "c", "e"]), [fill(other, ["b", "c", "f"])]) as run,
    ):
        wire = Wire(run.url)
        base = "/v2/team/app/tags/list"
        assert pages(wire, base) == [["a", "b", "c", "e", "f"]]
        for size in (1, 2, 3, 4, 5, 6):
            found = pages(wire, f"{base}?n={size}")
            assert [tag for page in found for tag in page] == ["a", "b", "c", "e", "f"]
            assert {len(page) for page in found[:-1]} <= {size}
        assert pages(wire, f"{base}?n=2&last=d") == [["e", "f"]]


def test_more_tags_than_a_page_holds_come_by_links_and_none_twice_while_more_are_pushed(
    wire: Wire, store: Store
) -> None:
    tags = [f"v{number:04}" for number in range(2500)]
    for start in range(0, 2500, 500):
        fill(store, tags[start : start + 500])
    first = wire.ask("GET", "/v2/team/app/tags/list")
    assert body(first)["tags"] == tags[:1000]
    fill(store, ["a-new-one", "v1500-new", "z-new"])
    link = first.headers["Link"]
    rest = [tag for page in pages(wire, link[1 : link.index(">")]) for tag in page]
    assert rest == [*tags[1000:1501], "v1500-new", *tags[1501:], "z-new"]
