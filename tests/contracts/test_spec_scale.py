"""Many of everything, and large ones: what a request costs depends on what it asks for, not on what there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import insert, select

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_MANIFEST
from registry.server import ranges
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.store import schema
from registry.store.store import Store
from tests.contracts.conftest import Wire, body, write_users
from tests.oci_samples import descriptor, image

MANY_TAGS, MANY_REFERRERS = 200_000, 20_000
SUBJECT = Digest.of(b"spoken about by many")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A registry with few and with many: written into its index at once, which pushes would take hours for."""
    folder = tmp_path_factory.mktemp("crowd")
    with Store.open(folder / "store") as store:
        for name in ("few/app", "many/app"):
            for digest, data in image().blobs.items():
                store.put_blob(name, digest, [data])
            store.put_manifest(name, image().manifest, OCI_MANIFEST, ["a"])
        with store.database.writing() as connection:
            row = connection.execute(
                select(schema.tags).join(
                    schema.repositories, schema.repositories.c.id == schema.tags.c.repository
                ).where(schema.repositories.c.name == "many/app")
            ).one()  # fmt: skip
            fixed = {"repository": row.repository, "digest": row.digest}
            connection.execute(insert(schema.tags), [fixed | {"name": f"t{n:07}"} for n in range(MANY_TAGS)])
            digests = [str(Digest.of(b"%d" % n)) for n in range(MANY_REFERRERS)]
            connection.execute(insert(schema.contents), [{"digest": digest, "size": 500} for digest in digests])
            about = {"repository": row.repository, "media_type": OCI_MANIFEST, "size": 500, "subject": str(SUBJECT)}
            annotations = '{"text":"' + "x" * 300 + '"}'
            said = [about | {"digest": one, "artifact_type": "a/b", "annotations": annotations} for one in digests]
            connection.execute(insert(schema.manifests), said)
        with Running(Settings(users=write_users(folder / "users")), store) as running:
            yield Wire(running.url)


def least(ask: Callable[[int], object]) -> float:
    """Return the shortest of some times, so that a busy machine does not count."""
    took = []
    for number in range(7):
        begun = time.perf_counter()
        ask(number)
        took.append(time.perf_counter() - begun)
    return min(took)


def test_a_page_of_tags_costs_the_same_among_many(crowd: Wire) -> None:
    def page(name: str) -> Callable[[int], object]:
        return lambda n: body(crowd.ask("GET", f"/v2/{name}/app/tags/list?n=10&last=t{MANY_TAGS // 2 + n:07}"))

    assert len(body(crowd.ask("GET", f"/v2/many/app/tags/list?n=10&last=t{MANY_TAGS // 2:07}"))["tags"]) == 10
    assert least(page("many")) < 5 * least(page("few")) + 0.01
    assert len(body(crowd.ask("GET", "/v2/many/app/tags/list"))["tags"]) == 1000


def test_many_referrers_come_in_pages_each_once(crowd: Wire) -> None:
    path, found, pages = f"/v2/many/app/referrers/{SUBJECT}", [], 0
    while path:
        answer = crowd.ask("GET", path)
        assert len(answer.data) <= strictjson.METADATA_BYTES
        found += [item["digest"] for item in body(answer)["manifests"]]
        link = answer.headers.get("Link", "")
        path, pages = link[1 : link.index(">")] if link else "", pages + 1
    assert found == sorted(str(Digest.of(b"%d" % n)) for n in range(MANY_REFERRERS))
    assert pages > 1


@pytest.mark.parametrize("way", ["PUT", "POST", "PATCH"])
def test_an_upload_of_any_size_takes_little_memory(wire: Wire, name: str, way: str) -> None:
    block, count = bytes(1 << 20), 192

    def sent() -> Iterator[bytes]:
        for _ in range(count):
            yield block

    digest = Digest("sha256", "f3e5ab5a6ba36f9bcd0f2bd0b7b4ad1b44e3a1c3ed2cee8f1ed0b5a1a5e0c7bd")
    begun = f"/v2/{name}/blobs/uploads/"
    place = begun if way == "POST" else wire.ask("POST", begun).headers["Location"]
    query = "" if way == "PATCH" else f"?digest={digest}"
    with Peak() as peak:
        answer = wire.ask(way, place + query, sent())  # type: ignore[arg-type]
    assert answer.status == (202 if way == "PATCH" else 400)  # it was all read, and is not what the digest says
    assert peak.bytes < 64 << 20
    if way == "PATCH":
        assert wire.ask("GET", place).headers["X-Upload-Offset"] == str(count << 20)
        assert wire.ask("DELETE", place).status == 204


class Peak:
    """How much this process grew at most, meanwhile."""

    bytes = 0

    def __enter__(self) -> Self:
        self._is_over = threading.Event()
        self._begun = self._now()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.005):
            self.bytes = max(self.bytes, self._now() - self._begun)

    @staticmethod
    def _now() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_nothing_ends_at_32_bits(wire: Wire, name: str) -> None:
    start = (1 << 32) + 5
    assert ranges.parse(f"bytes={start}-{start + 9}", 5 << 30) == [(start, start + 10)]
    location = wire.ask("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
    early = wire.ask("PATCH", location, b"x" * 10, Content_Range=f"{start}-{start + 9}")
    assert (early.status, early.headers["X-Upload-Offset"]) == (416, "0")
    child = descriptor(b"left out", OCI_MANIFEST).as_json() | {"size": 5 << 30}
    index = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]})
    assert wire.push_manifest(name, index, "large", OCI_INDEX).status == 201


def test_what_is_annotated_is_in_no_header(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"{}")
    odd = "a\r\nX-Odd: 1\r\n\r\n<html>"
    subject = descriptor(b"subject", OCI_MANIFEST)
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "a/b",
        "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json").as_json(),
        "layers": [],
        "subject": subject.as_json(),
        "annotations": {odd: odd, "org.opencontainers.image.title": odd},
    }
    data = strictjson.canonical(value)
    assert wire.push_manifest(name, data, "1").status == 201
    for path in ("manifests/1", f"referrers/{subject.digest}", f"referrers/{subject.digest}?artifactType={odd!r}"):
        for method in ("GET", "HEAD"):
            answer = wire.ask(method, f"/v2/{name}/{path}")
            assert answer.status == 200
            assert "X-Odd" not in answer.headers
            assert "html" not in str(answer.headers)
