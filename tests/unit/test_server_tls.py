"""TLS that is renewed while the server runs, and clients that log in by a certificate."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from registry.server.serve import CERTIFICATE_TICKS, Running
from registry.server.settings import Settings
from registry.server.tls import Certificates
from registry.server.users import certificate_line, user_line
from registry.store.store import Store
from tests.authority import Authority, Identity


@dataclass
class Site:
    """A registry over TLS whose clients may show certificates."""

    servers: Authority
    clients: Authority
    settings: Settings
    running: Running
    users: Path

    def ask(self, client: Identity | None = None, path: str = "/v2/", login: str | None = None) -> int:
        context = ssl.create_default_context(cafile=str(self.servers.ca))
        if client:
            context.load_cert_chain(client.certificate, client.key)
        headers = urllib3.make_headers(basic_auth=login) if login else {}
        with urllib3.PoolManager(retries=False, timeout=20, ssl_context=context) as pool:
            return pool.request("GET", self.running.url + path, headers=headers).status


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    server = servers.issue("127.0.0.1", "localhost")
    users = tmp_path / "users"
    lines = [
        certificate_line("builder", "uri:spiffe://site/builder", ["pull:*"]),
        certificate_line("ci", "cn:ci.example.org", ["pull:team/*"]),
        user_line("person", "pw", ["pull:*"], iterations=100_000),
    ]
    users.write_text("\n".join(lines) + "\n")
    settings = Settings(certificate=server.certificate, key=server.key, users=users, client_ca=clients.ca)
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        yield Site(servers, clients, settings, running, users)


def test_a_certificate_logs_in_whom_a_line_names(site: Site) -> None:
    assert site.ask(site.clients.issue("x", "spiffe://site/builder")) == 200
    assert site.ask(site.clients.issue("ci.example.org")) == 200


@pytest.mark.parametrize(
    "names", [("x", "spiffe://site/builder2"), ("x", "spiffe://site"), ("ci.example.org.evil.org",)]
)
def test_a_certificate_that_no_line_names_is_nobodys(site: Site, names: tuple[str, ...]) -> None:
    assert site.ask(site.clients.issue(*names)) == 401


def test_a_certificate_of_another_authority_ends_the_connection(site: Site) -> None:
    with pytest.raises((urllib3.exceptions.SSLError, urllib3.exceptions.ProtocolError)):
        site.ask(site.servers.issue("x", "spiffe://site/builder"))


def test_what_a_certificate_may_is_what_its_line_grants(site: Site) -> None:
    ci = site.clients.issue("ci.example.org")
    assert site.ask(ci, "/v2/team/app/tags/list") == 404
    assert site.ask(ci, "/v2/other/app/tags/list") == 403


def test_without_a_certificate_a_password_will_do_and_a_certificate_is_no_password(site: Site) -> None:
    assert site.ask(login="person:pw") == 200
    assert site.ask(login="builder:") == 401
    assert site.ask() == 401


def test_credentials_count_before_the_certificate(site: Site) -> None:
    builder = site.clients.issue("x", "spiffe://site/builder")
    assert site.ask(builder, login="person:pw") == 200
    assert site.ask(builder, login="person:wrong") == 401


def test_a_line_taken_away_shuts_out_its_certificate_at_once(site: Site) -> None:
    builder = site.clients.issue("x", "spiffe://site/builder")
    assert site.ask(builder) == 200
    site.users.write_text("")
    assert site.ask(builder) == 401


def shown(port: int, ca: Path, host: str) -> str:
    """Return the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname=host) as line,
    ):
        return ssl.DER_cert_to_PEM_cert(line.getpeercert(binary_form=True) or b"")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])  # an address sends no server name
def test_a_renewed_certificate_is_shown_without_a_restart(site: Site, host: str) -> None:
    files = site.settings
    assert files.certificate
    assert files.key
    before = shown(site.running.port, site.servers.ca, host)
    assert before == files.certificate.read_text()
    with urllib3.PoolManager(ca_certs=str(site.servers.ca), retries=False, timeout=20) as pool:
        assert pool.request("GET", f"{site.running.url}/livez").status == 200
        renewed = site.servers.issue("127.0.0.1", "localhost")
        files.certificate.write_bytes(renewed.certificate.read_bytes())  # for a moment the two do not fit
        time.sleep(CERTIFICATE_TICKS / 10 + 0.5)
        assert shown(site.running.port, site.servers.ca, host) == before
        files.key.write_bytes(renewed.key.read_bytes())
        deadline = time.monotonic() + 20
        while shown(site.running.port, site.servers.ca, host) == before and time.monotonic() < deadline:
            time.sleep(0.2)
        assert shown(site.running.port, site.servers.ca, host) == renewed.certificate.read_text()
        assert pool.request("GET", f"{site.running.url}/livez").status == 200  # the old connection goes on
    assert site.ask(site.clients.issue("x", "spiffe://site/builder")) == 200


def test_another_authority_of_clients_counts_for_new_connections(site: Site, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    others = Authority(tmp_path / "next", "others")
    old, new = (one.issue("x", "spiffe://site/builder") for one in (site.clients, others))
    assert site.ask(old) == 200
    site.clients.ca.write_bytes(others.ca.read_bytes())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if site.ask(new) == 200:
                break
        except (urllib3.exceptions.SSLError, urllib3.exceptions.ProtocolError):
            time.sleep(0.2)
    assert site.ask(new) == 200
    with pytest.raises((urllib3.exceptions.SSLError, urllib3.exceptions.ProtocolError)):
        site.ask(old)


def test_old_protocols_are_not_spoken(site: Site) -> None:
    certificates = Certificates.of(site.settings)
    assert certificates
    assert certificates.context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert not certificates.refresh()
