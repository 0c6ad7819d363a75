"""Several processes on one socket: one truth, no orphan, no gap when one dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.server.users import user_line
from registry.store.store import Store
from tests.bench.registries.client import MANIFEST, Client
from tests.oci_samples import descriptor, image

SERVE = """
import sys
from pathlib import Path
from registry.server.serve import listen, serve
from registry.server.settings import Settings
from registry.server.workers import share
from registry.store.store import Store
settings = Settings(users=Path(sys.argv[2]), port=int(sys.argv[3]))
def work(worker):
    with Store.open(Path(sys.argv[1])) as store:
        serve(settings, store, listener=listener, worker=worker)
with listen(settings) as listener:
    share(3, work)
"""
LOGIN = Client.basic("admin", "pw")
MANY = 24


class Server:
    def __init__(self, folder: Path) -> None:
        users = folder / "users"
        users.write_text(user_line("admin", "pw", ["pull,push,delete,metrics:*"], iterations=100_000) + "\n")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.store = folder / "store"
        command = [sys.executable, "-c", SERVE, str(self.store), str(users), str(self.port)]
        self.process = subprocess.Popen(command, cwd=Path.cwd())
        wait_until(lambda: len(self.workers()) == 3 and self.answers())

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def answers(self) -> bool:
        try:
            with Client(self.port, headers=LOGIN) as client:
                return client.ask("GET", "/readyz").status == 200
        except (OSError, EOFError):
            return False


def wait_until(is_so: object, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_what_one_worker_took_all_workers_know_and_what_it_lost_none_answers(server: Server) -> None:
    sample, other = image(b"one"), image(b"other")
    clients = [Client(server.port, headers=LOGIN) for _ in range(MANY)]  # enough to meet every worker
    path = "/v2/team/app/manifests/latest"
    with Store.open(server.store) as store:
        for one in (sample, other):
            for digest, data in one.blobs.items():
                store.put_blob("team/app", digest, [data])
    for manifest in (sample.manifest, other.manifest):
        assert clients[0].ask("PUT", path, manifest, Content_Type=MANIFEST).status == 201
        for _ in range(3):  # from the store, then from memory
            assert {client.ask("GET", path).body for client in clients} == {manifest}
    assert clients[1].ask("DELETE", path).status == 202
    assert {client.ask("GET", path).status for client in clients} == {404}
    for client in clients:
        client.__exit__()


def test_what_one_worker_deleted_no_worker_shows_any_more(server: Server) -> None:
    sample, at = image(b"deleted"), "/v2/team/app"
    digest, layer = Digest.of(sample.manifest), Digest.of(sample.layer)
    clients = [Client(server.port, headers=LOGIN) for _ in range(MANY)]
    with Store.open(server.store) as store:
        for blob, data in sample.blobs.items():
            store.put_blob("team/app", blob, [data])
        store.put_manifest("team/app", sample.manifest, MANIFEST, ["latest"])
        store.put_manifest("team/app", about(sample.manifest), MANIFEST, [])
    shown = (f"{at}/manifests/latest", f"{at}/manifests/{digest}", f"{at}/blobs/{layer}")

    def statuses() -> set[int]:
        asked = [(client, method, path) for client in clients for method in ("GET", "HEAD") for path in shown]
        return {client.ask(method, path).status for client, method, path in asked}

    def lists() -> set[bytes]:
        paths = (f"{at}/tags/list", f"{at}/referrers/{digest}", "/v2/_catalog")
        return {client.ask("GET", path).body for client in clients for path in paths}

    for _ in range(2):  # from the store, then from memory
        assert statuses() == {200}
        before = lists()
    assert len(before) == 3
    (referrer,) = json.loads(clients[0].ask("GET", f"{at}/referrers/{digest}").body)["manifests"]
    for path in (f"{at}/manifests/{referrer['digest']}", f"{at}/manifests/{digest}", f"{at}/blobs/{layer}"):
        assert clients[1].ask("DELETE", path).status == 202
    assert statuses() == {404}
    now = lists()
    assert len(now) == 3  # all workers say the same of each
    assert now & before == {clients[0].ask("GET", "/v2/_catalog").body}  # its config is still held
    for client in clients:
        client.__exit__()


def about(subject: bytes) -> bytes:
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "layers": [],
        "subject": descriptor(subject, MANIFEST).as_json(),
    }
    return strictjson.canonical(value)


def test_a_worker_that_dies_is_replaced(server: Server) -> None:
    first = server.workers()
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: len(server.workers()) == 3 and first[0] not in server.workers())
    assert server.answers()


def test_no_worker_outlives_its_parent(server: Server) -> None:
    workers = server.workers()
    server.process.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in workers))


def test_all_end_when_told_to(server: Server) -> None:
    workers = server.workers()
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert not any(is_alive(pid) for pid in workers)


def test_all_count_on_one_board(server: Server) -> None:
    for _ in range(MANY):
        with Client(server.port, headers=LOGIN) as client:
            assert client.ask("GET", "/v2/").status == 200
    with Client(server.port, headers=LOGIN) as client:
        text = client.ask("GET", "/metrics").body.decode()
    counted = [line for line in text.splitlines() if '/v2/"' in line and 'status="200"' in line]
    assert [int(line.rpartition(" ")[2]) for line in counted] == [MANY], text[:500]
