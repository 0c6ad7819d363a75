"""Ways to our own registry: its token flow, certificates of clients, a proxy that tunnels, and who is sent what."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from registry.client.access import Access, Login, Proxy, fixed_login
from registry.client.push import RemoteTarget
from registry.client.transport import Limits, Transport
from registry.errors import RemoteError, SiteError
from registry.oci.manifest import OCI_LAYER
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import certificate_line, user_line
from registry.store.store import Store
from tests.attacks.scripted_server import Request, ScriptedServer
from tests.authority import Authority
from tests.contracts.test_remote_target import InMemory
from tests.oci_samples import descriptor

PASSWORD = "correct horse"
BLOB = bytes(range(256)) * 4096
LAYER = descriptor(BLOB, OCI_LAYER)
NAME = "team/app"
QUICK = Limits(attempts=1, connect_seconds=2, read_seconds=5, first_pause=0.01)


class Tunnel:
    """An HTTP proxy that does CONNECT alone; it sees who asks for what, and nothing inside."""

    def __init__(self, login: str | None = None) -> None:
        self.login = login
        self.asked: list[str] = []
        self.inside = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        line, *headers = head.decode().split("\r\n")
        self.asked.append(line)
        pair = base64.b64encode((self.login or "").encode()).decode()
        if self.login and f"Proxy-Authorization: Basic {pair}".lower() not in [one.lower() for one in headers]:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            client.close()
            return
        host, _, port = line.split()[1].rpartition(":")
        server = socket.create_connection((host.strip("[]").replace("registry.example.org", "127.0.0.1"), int(port)))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while block := source.recv(65536):
                self.inside += block
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def served(
    folder: Path, authority: Authority, *, tokens: bool = False, clients: Path | None = None, users: str = ""
) -> Iterator[int]:
    identity = authority.issue("registry.example.org", "127.0.0.1")
    (folder / "users").write_text(users or user_line("push", PASSWORD, ["pull,push,delete:team/*"]) + "\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = Settings(
        port=port,
        certificate=identity.certificate,
        key=identity.key,
        users=folder / "users",
        client_ca=clients,
        access=folder / "access" if tokens else None,
        external_url=f"https://127.0.0.1:{port}" if tokens else None,
    )
    with Store.open(folder / "store") as store, Running(settings, store):
        yield port


def push(transport: Transport) -> None:
    target = RemoteTarget(transport)
    try:
        target.put_blob(NAME, LAYER, InMemory(BLOB))
        assert target.mount("team/other", LAYER.digest, NAME)
        assert target.has_blob("team/other", LAYER)
    finally:
        transport.close()


def test_our_token_flow_serves_a_push_and_a_mount(tmp_path: Path, authority: Authority) -> None:
    with served(tmp_path, authority, tokens=True) as port:
        access = Access(ca=authority.ca, login=fixed_login("push", PASSWORD))
        transport = Transport(f"https://127.0.0.1:{port}", access, QUICK)
        push(transport)
        assert transport.login_seen == ("bearer", True)


def test_a_clients_certificate_is_a_login(tmp_path: Path, authority: Authority) -> None:
    clients = Authority(tmp_path, "clients")
    mine = clients.issue("mirror.example.org")
    line = certificate_line("mirror", "cn:mirror.example.org", ["pull,push:team/*"])
    with served(tmp_path, authority, clients=clients.ca, users=line) as port:
        url = f"https://127.0.0.1:{port}"
        push(Transport(url, Access(authority.ca, mine.certificate, mine.key), QUICK))
        with pytest.raises(RemoteError) as caught:
            push(Transport(url, Access(authority.ca), QUICK))
        assert caught.value.reference == "registry-denied"


def test_a_certificate_and_a_key_that_do_not_fit_are_told_at_once(authority: Authority) -> None:
    first, second = authority.issue("a.example.org"), authority.issue("b.example.org")
    with pytest.raises(SiteError) as caught:
        Transport("https://127.0.0.1:1", Access(authority.ca, first.certificate, second.key))
    assert caught.value.reference == "client-certificate-unreadable"


@pytest.mark.parametrize("login", [None, "me:secret"])
def test_a_named_proxy_tunnels_and_sees_nothing(tmp_path: Path, authority: Authority, login: str | None) -> None:
    with served(tmp_path, authority) as port, Tunnel(login) as tunnel:
        url = f"https://registry.example.org:{port}"
        mine = Login("me", "secret") if login else None
        proxy = Proxy(tunnel.url, login=lambda: mine)
        push(Transport(url, Access(authority.ca, login=fixed_login("push", PASSWORD), proxy=proxy), QUICK))
        assert {line.rpartition(" ")[0] for line in tunnel.asked} == {f"CONNECT registry.example.org:{port}"}
        assert PASSWORD.encode() not in tunnel.inside
        assert b"/v2/" not in tunnel.inside


def test_a_proxy_that_wants_a_login_and_gets_none_is_told(tmp_path: Path, authority: Authority) -> None:
    with served(tmp_path, authority) as port, Tunnel("me:secret") as tunnel:
        access = Access(authority.ca, login=fixed_login("push", PASSWORD), proxy=Proxy(tunnel.url))
        with pytest.raises(RemoteError) as caught:
            push(Transport(f"https://registry.example.org:{port}", access, QUICK))
        assert caught.value.reference == "registry-unreachable"
        assert "407" in caught.value.seen


@pytest.mark.parametrize(
    ("rules", "host", "served_by"),
    [
        ((), "registry.example.org", True),
        (("example.org",), "registry.example.org", False),
        ((".example.org",), "registry.example.org", False),
        (("*.example.org",), "REGISTRY.example.org", False),
        (("ample.org",), "registry.example.org", True),
        (("registry.example.org.evil",), "registry.example.org", True),
        (("10.0.0.0/8",), "10.1.2.3", False),
        (("10.0.0.0/8",), "11.1.2.3", True),
        (("10.1.2.3",), "10.1.2.3", False),
        (("fd00::/8",), "fd00::1", False),
        (("*",), "anything", False),
        (("",), "anything", True),
    ],
)
def test_hosts_are_reached_without_the_proxy_by_rule(rules: tuple[str, ...], host: str, served_by: bool) -> None:
    assert Proxy("http://proxy.example.org:3128", rules).serves(host) is served_by


def test_loopback_is_never_reached_through_a_proxy(tmp_path: Path, authority: Authority) -> None:
    with served(tmp_path, authority) as port, Tunnel() as tunnel:
        access = Access(authority.ca, login=fixed_login("push", PASSWORD), proxy=Proxy(tunnel.url))
        push(Transport(f"https://127.0.0.1:{port}", access, QUICK))
        assert tunnel.asked == []


def test_a_token_server_elsewhere_gets_the_login_only_by_name(authority: Authority) -> None:
    def realm(request: Request) -> None:
        request.body()
        request.reply(200, b'{"token":"t"}')

    with ScriptedServer(authority.issue(), realm) as issuer:

        def answer(request: Request) -> None:
            if request.headers.get("Authorization") == "Bearer t":
                request.reply(404)
            else:
                request.reply(401, WWW_Authenticate=f'Bearer realm="{issuer.url}/token",service="s"')

        with ScriptedServer(authority.issue(), answer) as server:
            for realms in (frozenset[str](), frozenset({"https://127.0.0.1:1"}), frozenset({issuer.url})):
                transport = Transport(
                    server.url, Access(authority.ca, login=fixed_login("u", "p"), realms=realms), QUICK
                )
                if issuer.url in realms:
                    assert not RemoteTarget(transport).has_blob(NAME, LAYER)
                else:
                    with pytest.raises(RemoteError) as caught:
                        RemoteTarget(transport).has_blob(NAME, LAYER)
                    assert caught.value.reference == "token-realm-elsewhere"
                    assert issuer.asked == []
                transport.close()
            assert issuer.asked == ["POST /token"]
