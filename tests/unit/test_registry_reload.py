"""SIGHUP to a registry of several processes: what its files say counts at once, and nobody's connection is dropped.

The changes are such that looking at times and sizes does not see them, so that nothing but the signal can.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from registry.oci.digest import Digest
from registry.server.users import certificate_line, user_line
from registry.store.store import Store
from tests.authority import Authority, Identity
from tests.bench.registries.client import Client
from tests.registry_process import Process, in_time, serving

WORKERS = 3
MANY = 24
"""Connections: enough to meet every worker."""
POLL_SECONDS = 2.5
DATA = os.urandom(16 << 20)
LOGIN = Client.basic("ann", "pw")


@dataclass
class Site:
    folder: Path
    running: Process
    servers: Authority
    clients: Authority

    def client(self) -> Client:
        return Client(self.running.port, self.servers.ca, LOGIN)

    def told(self) -> None:
        self.running.process.send_signal(signal.SIGHUP)

    def shown(self, client: Identity | None = None) -> bytes:
        """Return the certificate that a new connection is shown. Raises OSError if the client's is refused."""
        context = ssl.create_default_context(cafile=str(self.servers.ca))
        if client:
            context.load_cert_chain(client.certificate, client.key)
        with (
            socket.create_connection(("127.0.0.1", self.running.port), timeout=20) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as line,
        ):
            line.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if not line.recv(4096).startswith(b"HTTP/1.1 200 "):  # TLS 1.3 tells of a refused client here
                raise ConnectionAbortedError
            return ssl.DER_cert_to_PEM_cert(line.getpeercert(binary_form=True) or b"").encode()


@pytest.fixture(params=[WORKERS, 1])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    identity = servers.issue()
    identity.certificate.rename(tmp_path / "server.pem")
    identity.key.rename(tmp_path / "server.key")
    ann = user_line("ann", "pw", ["pull,push,delete:aa/*"], iterations=100_000)
    (tmp_path / "users").write_text(f"{ann}\n{certificate_line('builder', 'cn:builder', ['pull:*'])}\n")
    with Store.open(tmp_path / "store") as store:
        for name in ("aa/app", "bb/app"):
            store.put_blob(name, Digest.of(DATA), [DATA])
    (tmp_path / "store/policy.yaml").write_text("read_only: false\n")
    config = "certificate: server.pem\nkey: server.key\nusers: users\nstore: store\nclient_ca: clients.pem\n"
    with serving(tmp_path, config, request.param) as process:
        yield Site(tmp_path, process, servers, clients)


def unseen(path: Path, data: bytes) -> None:
    """Change a file so that neither its time, nor its size, nor its number tells."""
    before = path.stat()
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (before.st_mtime_ns, before.st_size, before.st_ino)


T = TypeVar("T")


def fitting(make: Callable[[], T], file: Callable[[T], Path], size: int) -> T:
    """Return one whose file has this size: a signature's differs by a byte or two."""
    return next(one for one in (make() for _ in range(500)) if file(one).stat().st_size == size)


def change_all(site: Site) -> tuple[bytes, Identity]:
    """Change every file, unseen; return the next certificate, and who is a client under the next authority."""
    folder, others = site.folder, site.folder / "others"
    others.mkdir()
    size = {name: (folder / name).stat().st_size for name in ("server.pem", "clients.pem")}
    server = fitting(site.servers.issue, lambda one: one.certificate, size["server.pem"])
    clients = fitting(lambda: Authority(others, "clients"), lambda one: one.ca, size["clients.pem"])
    unseen(folder / "server.pem", server.certificate.read_bytes())
    unseen(folder / "server.key", server.key.read_bytes())
    unseen(folder / "clients.pem", clients.ca.read_bytes())
    unseen(folder / "users", (folder / "users").read_bytes().replace(b":aa/*", b":bb/*"))
    unseen(folder / "store/policy.yaml", b"read_only:  true\n")
    return server.certificate.read_bytes(), clients.issue("builder")


def statuses(clients: list[Client], name: str) -> set[int]:
    return {client.ask("HEAD", f"/v2/{name}/blobs/{Digest.of(DATA)}").status for client in clients}


def begin(client: Client, name: str) -> int:
    return client.ask("POST", f"/v2/{name}/blobs/uploads/", b"").status


def test_all_files_are_read_at_once_by_every_worker_and_old_connections_go_on(site: Site) -> None:
    before = site.shown()
    clients = [site.client() for _ in range(MANY)]
    assert statuses(clients, "aa/app") == {200}
    assert statuses(clients, "bb/app") == {403}
    assert {begin(client, "aa/app") for client in clients} == {202}
    after, builder = change_all(site)
    time.sleep(POLL_SECONDS)
    assert {site.shown() for _ in range(MANY)} == {before}
    assert statuses(clients, "aa/app") == {200}

    site.told()
    in_time(lambda: {site.shown() for _ in range(MANY)} == {after})
    assert statuses(clients, "aa/app") == {403}
    assert statuses(clients, "bb/app") == {200}
    assert {begin(client, "bb/app") for client in clients} == {405}
    assert {site.shown(builder) for _ in range(MANY)} == {after}
    with pytest.raises((ssl.SSLError, ConnectionError)):
        site.shown(site.clients.issue("builder"))
    for client in clients:
        client.__exit__()


def test_an_upload_and_a_download_under_way_are_not_disturbed(site: Site) -> None:
    half = len(DATA) // 2
    new = DATA[half:] + DATA[:half]
    with site.client() as up, site.client() as down:
        place = up.ask("POST", "/v2/aa/app/blobs/uploads/", b"").headers["location"]
        joint = "&" if "?" in place else "?"
        head = up.head("PUT", f"{place}{joint}digest={Digest.of(new)}", Content_Length=str(len(new)))
        up.connect().sendall(head + new[:half])
        down.connect().sendall(down.head("GET", f"/v2/aa/app/blobs/{Digest.of(DATA)}"))
        head, _, begun = down.connect().recv(4096).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        for _ in range(5):
            site.told()
            time.sleep(0.2)
        up.connect().sendall(new[half:])
        assert up.take().status == 201
        got = bytearray(begun)
        while len(got) < len(DATA):
            block = down.connect().recv(1 << 20)
            assert block, "the connection was dropped"
            got += block
        assert got == DATA
    assert site.running.process.poll() is None


def test_a_damaged_file_is_told_lets_nobody_in_and_is_mended_by_the_next_signal(site: Site) -> None:
    good = (site.folder / "users").read_bytes()
    unseen(site.folder / "users", good.replace(b"pull", b"pool"))
    unseen(site.folder / "store/policy.yaml", b"read_0nly: false\n")
    key = (site.folder / "server.key").read_bytes()
    unseen(site.folder / "server.key", key.replace(b"PRIVATE", b"PRIVACY"))
    before = site.shown()
    site.told()
    in_time(lambda: "policy-invalid" in site.running.told())
    log = site.running.told()
    assert "users-invalid" in log
    assert "not used yet" in log
    clients = [site.client() for _ in range(MANY)]
    in_time(lambda: statuses(clients, "aa/app") == {500})
    assert site.shown() == before
    unseen(site.folder / "users", good)
    unseen(site.folder / "store/policy.yaml", b"read_only: false\n")
    unseen(site.folder / "server.key", key)
    site.told()
    in_time(lambda: statuses(clients, "aa/app") == {200})
    for client in clients:
        client.__exit__()
