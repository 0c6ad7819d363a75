"""Answers from memory: never older than the store, never to who may not, never another than the store's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.bench.registries.client import MANIFEST, Client
from tests.oci_samples import Image, image

REPOSITORY = "team/app"
AT = f"/v2/{REPOSITORY}"


class Place:
    def __init__(self, folder: Path, port: int, store: Store, other: Store) -> None:
        self.users, self.port, self.store, self.other = folder / "users", port, store, other

    def client(self, name: str, word: str = "pw") -> Client:
        return Client(self.port, headers=Client.basic(name, word) if name else {})

    def put(self, sample: Image, *tags: str) -> Digest:
        """Store an image as another process would."""
        for digest, data in sample.blobs.items():
            self.other.put_blob(REPOSITORY, digest, [data])
        return self.other.put_manifest(REPOSITORY, sample.manifest, MANIFEST, tags)


def write_users(path: Path, **users: str) -> None:
    lines = (user_line(name, "pw", [grant] if grant else [], iterations=100_000) for name, grant in users.items())
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    write_users(tmp_path / "users", reader="pull:*", stranger="pull:elsewhere/*")
    with (
        Store.open(tmp_path / "store") as store,
        Store.open(tmp_path / "store") as other,
        Running(Settings(users=tmp_path / "users"), store) as running,
    ):
        yield Place(tmp_path, running.port, store, other)


def warm(client: Client, path: str) -> bytes:
    """Ask until it comes from memory."""
    bodies = {client.ask("GET", path).body for _ in range(3)}
    assert len(bodies) == 1
    return bodies.pop()


def test_memory_says_what_the_store_said(place: Place) -> None:
    digest = place.put(image(), "latest")
    with place.client("reader") as client:
        for path in (
            f"{AT}/manifests/latest",
            f"{AT}/manifests/{digest}",
            f"{AT}/tags/list",
            f"{AT}/referrers/{digest}",
        ):
            answers = [client.ask("GET", path) for _ in range(3)]
            heads = [client.ask("HEAD", path) for _ in range(2)]
            assert {(one.status, one.body) for one in answers} == {(200, answers[0].body)}
            kept = [{key: value for key, value in one.headers.items() if key != "date"} for one in [*answers, *heads]]
            assert all(one == kept[0] for one in kept), path
            assert all(one.body == b"" for one in heads)


def test_a_change_by_another_process_counts_with_the_next_request(place: Place) -> None:
    first, second = image(b"1"), image(b"2")
    place.put(first, "latest")
    with place.client("reader") as client:
        path = f"{AT}/manifests/latest"
        assert warm(client, path) == first.manifest
        place.put(second, "latest")
        assert client.ask("GET", path).body == second.manifest
        assert warm(client, path) == second.manifest
        place.other.delete_tag(REPOSITORY, "latest")
        assert client.ask("GET", path).status == 404
        place.other.delete_manifest(REPOSITORY, Digest.of(second.manifest))
        assert client.ask("GET", f"{AT}/manifests/{Digest.of(second.manifest)}").status == 404


@pytest.mark.parametrize(("name", "status"), [("stranger", 403), ("", 401), ("nobody", 401)])
def test_memory_is_for_those_alone_who_may_pull(place: Place, name: str, status: int) -> None:
    place.put(image(), "latest")
    with place.client("reader") as client, place.client(name) as other:
        warm(client, f"{AT}/manifests/latest")
        for _ in range(3):
            assert other.ask("GET", f"{AT}/manifests/latest").status == status


def test_a_wrong_password_is_wrong_after_right_ones(place: Place) -> None:
    place.put(image(), "latest")
    with place.client("reader") as client, place.client("reader", "guess") as other:
        warm(client, f"{AT}/manifests/latest")
        assert other.ask("GET", f"{AT}/manifests/latest").status == 401


def test_who_was_removed_gets_nothing_any_more(place: Place) -> None:
    place.put(image(), "latest")
    with place.client("reader") as client:
        warm(client, f"{AT}/manifests/latest")
        write_users(place.users, reader="pull:elsewhere/*")
        assert client.ask("GET", f"{AT}/manifests/latest").status == 403
        place.users.unlink()
        assert client.ask("GET", f"{AT}/manifests/latest").status == 401


def test_who_has_it_is_told_so(place: Place) -> None:
    digest = place.put(image(), "latest")
    with place.client("reader") as client:
        warm(client, f"{AT}/manifests/latest")
        assert client.ask("GET", f"{AT}/manifests/latest", If_None_Match=f'"{digest}"').status == 304


def test_queries_are_told_apart(place: Place) -> None:
    place.put(image(), "a", "b", "c")
    with place.client("reader") as client:
        one, two = warm(client, f"{AT}/tags/list?n=1"), warm(client, f"{AT}/tags/list?n=2")
        assert one != two
        assert warm(client, f"{AT}/tags/list?n=1") == one


def test_many_requests_in_one_packet_are_answered_one_by_one(place: Place) -> None:
    sample = image()
    place.put(sample, "latest")
    with place.client("reader") as client:
        warm(client, f"{AT}/manifests/latest")
        request = client.head("GET", f"{AT}/manifests/latest")
        slow = client.head("GET", "/v2/_catalog")
        client.connect().sendall(request * 3 + slow + request + slow + request * 2)
        bodies = [client.take().body for _ in range(8)]
    assert bodies.count(sample.manifest) == 6
    assert [number for number, data in enumerate(bodies) if data != sample.manifest] == [3, 5]


def test_a_body_is_not_taken_for_the_next_request(place: Place) -> None:
    sample = image()
    place.put(sample, "latest")
    with place.client("reader") as client:
        path = f"{AT}/manifests/latest"
        warm(client, path)
        hidden = client.head("DELETE", path)
        client.connect().sendall(client.head("GET", path, Content_Length=str(len(hidden))) + hidden)
        assert client.take().body == sample.manifest
        assert client.ask("GET", path).body == sample.manifest
