"""What vendors do otherwise: the probe finds it before anything is sent, and the upload goes the way that follows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry.client.access import Access, Login, LoginSource, fixed_login
from registry.client.capabilities import NAMES, Capabilities
from registry.client.probe import probe
from registry.client.push import RemoteTarget
from registry.client.transport import Limits, Transport
from registry.client.upload_state import Habits
from registry.errors import RemoteError
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, artifact
from tests.attacks.scripted_server import Request, ScriptedServer
from tests.authority import Authority
from tests.contracts.test_remote_target import InMemory
from tests.oci_samples import descriptor
from tests.vendors.kinds import Artifactory, Crowded, Ecr, Gar, Harbor, Quay
from tests.vendors.memory import MemoryRegistry

MIB = 1 << 20
BLOB = random.Random(4).randbytes(6 * MIB + 7)  # noqa: S311 - the same every time
LAYER = descriptor(BLOB, OCI_LAYER)
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
QUICK = Limits(attempts=4, connect_seconds=5, read_seconds=5, commit_seconds=5, first_pause=0.02, longest_pause=0.3)
ROBOT = fixed_login("robot", "secret")
Open = Callable[..., Transport]


@pytest.fixture
def open_(tmp_path: Path) -> Iterator[Open]:
    authority = Authority(tmp_path)
    running: list[ScriptedServer | Transport] = []

    def start(registry: MemoryRegistry, login: LoginSource = ROBOT) -> Transport:
        server = ScriptedServer(authority.issue(), registry).__enter__()
        transport = Transport(server.url, Access(ca=authority.ca, login=login), QUICK)
        transport.server = server  # type: ignore[attr-defined]
        running.extend([transport, server])
        return transport

    yield start
    for one in running:
        one.close() if isinstance(one, Transport) else one.__exit__()


def push(transport: Transport, name: str, found: Capabilities | None = None, blob: bytes = BLOB) -> RemoteTarget:
    target = RemoteTarget(transport, found)
    target.put_blob(name, descriptor(blob, OCI_LAYER), InMemory(blob))
    return target


def test_a_registry_by_the_book_can_everything_and_keeps_nothing_of_the_probe(open_: Open) -> None:
    registry = MemoryRegistry()
    found = probe(open_(registry), "team/dryport-probe", NOW)
    values = {name: one.value for name, one in found.findings.items()}
    assert values.pop("least-chunk") == 65536
    assert (values.pop("upload-status"), values.pop("login")) == ("exact", "none")
    assert set(values.values()) == {True}
    assert len(values) == len(NAMES) - 4  # a registry without logins gives no tokens
    assert (registry.blobs, registry.manifests, registry.tags, registry.uploads) == ({}, {}, {}, {})
    assert found.date == "2026-05-04T03:02:01Z"


def test_what_was_found_comes_back_from_its_json_as_it_was(open_: Open) -> None:
    found = probe(open_(Quay()), "team/dryport-probe", NOW)
    assert Capabilities.from_json(json.loads(json.dumps(found.as_json()))) == found
    for wrong in ({}, {"registry": 1}, {**found.as_json(), "capabilities": []}, {"capabilities": {"mount": 1}}):
        with pytest.raises(ValueError, match="not what a probe found"):
            Capabilities.from_json(wrong)


def test_a_probe_of_what_is_no_registry_or_lets_nobody_in_says_so(open_: Open) -> None:
    class Web(MemoryRegistry):
        def admits(self, request: Request, _path: str) -> bool:
            request.reply(404, b"<html>not found</html>")
            return False

    with pytest.raises(RemoteError) as caught:
        probe(open_(Web()), "dryport-probe", NOW)
    assert caught.value.reference == "not-a-registry"
    with pytest.raises(RemoteError) as caught:
        probe(open_(Harbor(), fixed_login("robot", "wrong")), "library/dryport-probe", NOW)
    assert caught.value.reference == "registry-denied"


def test_a_read_only_registry_is_found_out_by_one_request(open_: Open) -> None:
    class ReadOnly(MemoryRegistry):
        def admits(self, request: Request, _path: str) -> bool:
            if request.command not in {"GET", "HEAD"}:
                request.reply(405, b"read-only")
                return False
            return True

    transport = open_(ReadOnly())
    found = probe(transport, "team/dryport-probe", NOW)
    assert found.finding("writable").value is False
    assert "read-only" in found.finding("writable").evidence
    assert found.can("mount") is None
    assert len(transport.server.asked) == 2


@pytest.mark.parametrize(
    ("switch", "name"),
    [
        ("referrers_api", "referrers"),
        ("mounts", "mount"),
        ("anonymous_mounts", "anonymous-mount"),
        ("takes_tags", "tag-parameter"),
        ("deletes", "deletes-manifests"),
        ("deletes", "cleaned-up"),
        ("sparse", "sparse-indexes"),
        ("docker_types", "docker-types"),
        ("ranges", "ranges"),
        ("pages", "tag-pages"),
        ("keeps_broken", "keeps-broken-upload"),
        ("states_digests", "states-digests"),
        ("chunks", "chunked"),
    ],
)
def test_each_thing_a_registry_cannot_is_found(open_: Open, switch: str, name: str) -> None:
    registry = MemoryRegistry()
    setattr(registry, switch, False)
    assert probe(open_(registry), "team/dryport-probe", NOW).finding(name).value is False


def test_a_registry_that_changes_manifests_is_found(open_: Open) -> None:
    class Tidy(MemoryRegistry):
        def kept(self, data: bytes) -> bytes:
            return json.dumps(json.loads(data)).encode()

    assert probe(open_(Tidy()), "team/dryport-probe", NOW).can("keeps-bytes") is False


# Harbor


def test_harbors_realm_knows_no_post_and_is_asked_by_get(open_: Open) -> None:
    registry = Harbor()
    found = probe(open_(registry), "library/dryport-probe", NOW)
    assert (found.finding("login").value, found.finding("token-by-post").value) == ("bearer", False)
    push(open_(registry), "library/app", found)
    assert registry.blobs["library/app", str(LAYER.digest)] == BLOB


def test_a_project_that_harbor_does_not_have_is_found_before_anything_is_sent(open_: Open) -> None:
    transport = open_(Harbor())
    found = probe(transport, "nobody/dryport-probe", NOW)
    assert found.finding("creates-repositories").value is False
    assert "project nobody not found" in found.finding("creates-repositories").evidence
    with pytest.raises(RemoteError) as caught:
        push(transport, "nobody/app")
    assert caught.value.reference == "upload-refused"
    assert "project nobody not found" in caught.value.seen


def test_harbors_locks_on_rows_make_the_client_slower_and_every_blob_arrives(open_: Open) -> None:
    registry = Crowded()
    registry.bears = 2
    blobs = [random.Random(number).randbytes(100_000) for number in range(24)]  # noqa: S311
    target = RemoteTarget(open_(registry))

    def send(blob: bytes) -> None:
        for _ in range(20):  # the mirror, which tries again what was given up
            try:
                target.put_blob("library/app", descriptor(blob, OCI_LAYER), InMemory(blob))
            except RemoteError:
                continue
            return

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send, blobs))
    assert len(registry.blobs) == 24
    assert target.transport.pace.writes.width < 8


def test_a_body_too_large_for_harbors_proxy_goes_in_chunks(open_: Open) -> None:
    registry = Harbor()
    registry.largest_body = 2 * MIB
    target = RemoteTarget(open_(registry))
    target.habits = Habits(monolithic=True, chunk=MIB)
    target.put_blob("library/app", LAYER, InMemory(BLOB))
    assert registry.blobs["library/app", str(LAYER.digest)] == BLOB
    assert target.habits.monolithic is True  # smaller ones still go whole


# Artifactory


def test_artifactorys_prefix_and_scopes_are_followed(open_: Open) -> None:
    registry = Artifactory()
    transport = open_(registry)
    push(transport, "docker-local/team/app")
    assert registry.blobs["docker-local/team/app", str(LAYER.digest)] == BLOB
    paths = [line for line in transport.server.asked if line.startswith(("PATCH", "PUT"))]
    assert all("/artifactory/api/docker/docker-local/v2/team/app/blobs/uploads/" in path for path in paths)


def test_artifactory_refuses_a_blob_in_one_put_and_gets_chunks_at_once_after_the_probe(open_: Open) -> None:
    registry = Artifactory()
    transport = open_(registry)
    found = probe(transport, "docker-local/dryport-probe", NOW)
    assert (found.can("monolithic"), found.can("chunked")) == (False, True)
    before = len(transport.server.asked)
    push(transport, "docker-local/team/app", found)
    methods = [line.split()[0] for line in transport.server.asked[before:]]
    assert [method for method in methods if method in {"PATCH", "PUT"}] == ["PATCH", "PUT"]


def test_no_accept_is_sent_where_artifactory_answers_406(open_: Open) -> None:
    target = push(open_(Artifactory()), "docker-local/app", blob=b"{}")
    assert target.put_manifest("docker-local/app", artifact("application/x-test", []), OCI_MANIFEST, ["1.0"])


def test_a_registry_that_bears_one_connection_gets_all_through_one(open_: Open) -> None:
    registry = Crowded()
    registry.turns_away = 429
    target = RemoteTarget(open_(registry))
    blobs = [random.Random(number).randbytes(50_000) for number in range(12)]  # noqa: S311

    def send(blob: bytes) -> None:
        for _ in range(30):  # as the mirror does
            try:
                target.put_blob("team/app", descriptor(blob, OCI_LAYER), InMemory(blob))
            except RemoteError:
                continue
            return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, blobs))
    assert len(registry.blobs) == 12
    assert target.transport.pace.writes.width < 8


def test_artifactorys_own_words_reach_the_operator(open_: Open) -> None:
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    target = push(open_(Artifactory()), "docker-local/app", blob=config)
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, OCI_CONFIG).as_json(),
            "layers": [],
        }
    ).encode()
    with pytest.raises(RemoteError) as caught:
        target.put_manifest("docker-local/app", data, OCI_MANIFEST, ["1.0"])
    assert "history is missing" in caught.value.seen


# Quay


def test_quays_limits_are_found(open_: Open) -> None:
    registry = Quay()
    found = probe(open_(registry), "team/dryport-probe", NOW)
    assert {name: found.can(name) for name in ("mount", "anonymous-mount", "repeated-layers", "nested-names")} == {
        "mount": True,
        "anonymous-mount": False,
        "repeated-layers": False,
        "nested-names": False,
    }


def test_a_mount_at_quay_names_its_source_and_a_failed_one_is_an_upload(open_: Open) -> None:
    registry = Quay()
    target = push(open_(registry), "team/base")
    assert not target.mount("team/app", LAYER.digest, None)
    assert target.mount("team/app", LAYER.digest, "team/base")
    assert registry.received == len(BLOB)


def test_a_mount_that_the_probe_saw_refused_is_not_asked_for(open_: Open) -> None:
    transport = open_(Quay())
    target = push(transport, "team/base", probe(transport, "team/dryport-probe", NOW))
    before = len(transport.server.asked)
    assert not target.mount("team/app", LAYER.digest, None)
    assert len(transport.server.asked) == before
    assert target.mount("team/app", LAYER.digest, "team/base")


def test_a_layer_that_occurs_twice_is_reported_with_quays_words(open_: Open) -> None:
    target = push(open_(Quay()), "team/app")
    target.put_blob("team/app", descriptor(b"{}", OCI_LAYER), InMemory(b"{}"))
    with pytest.raises(RemoteError) as caught:
        target.put_manifest("team/app", artifact("application/x-test", [LAYER, LAYER]), OCI_MANIFEST)
    assert "repeated layer" in caught.value.seen


# ECR


def test_ecrs_repositories_exist_first(open_: Open) -> None:
    found = probe(open_(Ecr(), fixed_login("AWS", "first")), "team/none", NOW)
    assert found.finding("creates-repositories").value is False
    assert "does not exist" in found.finding("creates-repositories").evidence


def test_ecrs_chunks_are_large_and_its_ranges_lag_behind(open_: Open) -> None:
    found = probe(open_(Ecr(), fixed_login("AWS", "first")), "team/app", NOW)
    assert (found.can("chunked"), found.finding("least-chunk").value) == (True, 5 * MIB)
    assert found.finding("upload-status").value in {"behind", "none"}
    assert found.finding("login").value == "basic"
    assert (found.can("writable"), found.can("creates-repositories")) == (True, False)


def test_an_upload_to_ecr_believes_itself_and_not_the_range(open_: Open) -> None:
    registry = Ecr()
    target = RemoteTarget(open_(registry, fixed_login("AWS", "first")))
    target.habits = Habits(monolithic=False, chunk=5 * MIB)
    big = random.Random(5).randbytes(12 * MIB)  # noqa: S311
    sent = target.put_blob("team/app", descriptor(big, OCI_LAYER), InMemory(big))
    assert registry.blobs["team/app", str(Digest.of(big))] == big
    assert (sent.bytes_sent, sent.interruptions) == (len(big), 0)


def test_a_secret_that_ends_inside_a_blob_is_asked_for_again(open_: Open) -> None:
    registry = Ecr()
    asked: list[str] = []

    def program() -> Login:
        asked.append(registry.secret)
        return Login("AWS", registry.secret)

    class Content(InMemory):
        def read(self, offset: int, length: int) -> bytes:
            if offset >= 5 * MIB:
                registry.secret = "second"
            return super().read(offset, length)

    target = RemoteTarget(open_(registry, program))
    target.habits = Habits(monolithic=False, chunk=5 * MIB)
    sent = target.put_blob("team/app", LAYER, Content(BLOB))
    assert registry.blobs["team/app", str(LAYER.digest)] == BLOB
    assert asked == ["first", "second"]
    assert sent.sessions == 1


# Google Artifact Registry


def test_gar_takes_blobs_whole_and_never_gets_a_chunk(open_: Open) -> None:
    registry = Gar()
    transport = open_(registry)
    found = probe(transport, "project/dryport-probe", NOW)
    assert (found.can("monolithic"), found.can("chunked")) == (True, False)
    before = len(transport.server.asked)
    push(transport, "project/app", found)
    assert registry.blobs["project/app", str(LAYER.digest)] == BLOB
    assert not [line for line in transport.server.asked[before:] if line.startswith("PATCH")]


def test_a_session_that_gar_lost_is_begun_again_whole(open_: Open) -> None:
    class Loses(Gar):
        losses = 1

        def put_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
            if self.losses and request.left > MIB:
                self.losses -= 1
                self.uploads.clear()
            super().put_uploads(request, name, identity, query)

    registry = Loses()
    transport = open_(registry)
    found = probe(transport, "project/dryport-probe", NOW)
    push(transport, "project/app", found)
    assert registry.blobs["project/app", str(LAYER.digest)] == BLOB


def test_a_blob_that_broke_off_at_gar_begins_again_whole(open_: Open) -> None:
    class Cuts(Gar):
        cuts = 2

        def put_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
            if self.cuts and request.left > MIB:
                self.cuts -= 1
                self.received += len(request.body(2 * MIB))
                request.hang_up()
                return
            super().put_uploads(request, name, identity, query)

    registry = Cuts()
    target = push(open_(registry), "project/app")
    assert registry.blobs["project/app", str(LAYER.digest)] == BLOB
    assert target.habits.chunked in {None, False}
