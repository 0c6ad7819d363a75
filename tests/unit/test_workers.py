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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.server.users import user_line
from registry.store.store import Store
from tests.bench.registries.client import MANIFEST, Client
from tests.oci_samples import descriptor, image

SERVE = """
import json, resource, sys
from pathlib import Path
from registry.server.limits import Limits, Rate
from registry.server.serve import listen, serve
from registry.server.settings import Settings
from registry.server.workers import share
from registry.store.store import Store
resource.setrlimit(resource.RLIMIT_NOFILE, (512, 2048))
rates = {name: Rate(*rate) for name, rate in json.loads(sys.argv[5]).items()}
limits = Limits(**rates, limits_loopback=bool(rates))
settings = Settings(users=Path(sys.argv[2]), port=int(sys.argv[3]), limits=limits)
def work(worker):
    with Store.open(Path(sys.argv[1])) as store:
        serve(settings, store, listener=listener, worker=worker)
with listen(settings) as listener:
    share(int(sys.argv[4]), work)
"""
LOGIN = Client.basic("admin", "pw")
MANY = 24


class Server:
    """Workers on one socket; `rates` are limits by name, each so many a second and at once."""

    def __init__(self, folder: Path, count: int = 3, **rates: tuple[float, int]) -> None:
        users = folder / "users"
        users.write_text(user_line("admin", "pw", ["pull,push,delete,metrics:*"], iterations=100_000) + "\n")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.store = folder / "store"
        command = [sys.executable, "-c", SERVE, str(self.store), str(users), str(self.port)]
        command += [str(count), json.dumps(rates)]
        self.process = subprocess.Popen(command, cwd=Path.cwd())
        wait_until(lambda: len(self.workers()) == count and self.answers())

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


def test_a_worker_may_have_as_many_connections_as_the_system_lets_it(server: Server) -> None:
    wait_until(lambda: {open_files(worker) for worker in server.workers()} == {("2048", "2048")})


def open_files(pid: int) -> tuple[str, ...]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return tuple(next(line.split()[3:5] for line in lines if line.startswith("Max open files")))


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


def test_who_guesses_at_many_workers_has_no_more_tries_than_at_one(tmp_path: Path) -> None:
    burst, per_second = 20, 0.5
    server = Server(tmp_path, 4, failures=(per_second, burst))
    begun = time.monotonic()

    def guess(number: int) -> int:
        with Client(server.port, headers=Client.basic("admin", f"guess {number}")) as client:
            return client.ask("GET", "/v2/").status

    try:
        with ThreadPoolExecutor(16) as pool:
            first = list(pool.map(guess, range(200)))
            killed = server.workers()[0]
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: len(server.workers()) == 4 and killed not in server.workers())
            second = list(pool.map(guess, range(200, 300)))
        seconds = time.monotonic() - begun
    finally:
        server.process.kill()
        server.process.wait()
    assert set(first + second) == {401, 429}
    assert burst <= first.count(401)
    assert (first + second).count(401) <= burst + per_second * seconds


def test_a_users_requests_are_counted_over_all_workers(tmp_path: Path) -> None:
    sample = image(b"one")
    server = Server(tmp_path, 4, identity=(0.001, 200))
    path = "/v2/team/app/manifests/latest"
    try:
        with Store.open(server.store) as store:
            for digest, data in sample.blobs.items():
                store.put_blob("team/app", digest, [data])
            store.put_manifest("team/app", sample.manifest, MANIFEST, ["latest"])
        clients = [Client(server.port, headers=LOGIN) for _ in range(MANY)]
        seen = [client.ask("GET", path).status for _ in range(12) for client in clients]  # also where memory has it
        for client in clients:
            client.__exit__()
    finally:
        server.process.kill()
        server.process.wait()
    assert (seen.count(200), seen.count(429)) == (200, 12 * MANY - 200)


SLOW_FORK = """
import os, time
real = os.fork
def fork():
    process = real()
    if process == 0:
        print("forked", flush=True)
        time.sleep(0.5)  # told to end before its own handlers stand
    return process
os.fork = fork
from registry.server.workers import share
share(2, lambda worker: time.sleep(600))
"""


def test_a_worker_that_is_told_to_end_as_soon_as_it_is_forked_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW_FORK], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "forked\n"
            process.terminate()
            process.wait(30)
        finally:
            process.kill()
