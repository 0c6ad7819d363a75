from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from installer.site.pki import BACKDATE, LEAF_LIFE, Authority, Leaf
from registry.errors import SiteError
from tests.site_samples import SITE, declare

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.ensure(tmp_path, declare(tmp_path).site, now=NOW)


def handshake(authority: Authority, leaf: Leaf, name: str) -> None:
    """A TLS handshake in which the client trusts the site CA alone and asks for `name`."""
    ours, theirs = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(leaf.certificate, leaf.key)

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as link:
                link.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client = ssl.create_default_context(cadata=authority.pem)
        with client.wrap_socket(ours, server_hostname=name) as link:
            link.send(b"!")
    finally:
        ours.close()
        thread.join()


def leaf_of(authority: Authority, name: str, address: str, now: datetime = NOW) -> Leaf:
    return authority.leaf(name, [address], now=now)


def test_a_client_that_trusts_the_site_ca_accepts_its_hosts_by_address_and_by_name(authority: Authority) -> None:
    leaf = leaf_of(authority, "n1", "10.0.0.1")
    handshake(authority, leaf, "10.0.0.1")
    handshake(authority, leaf, "n1.alpha.example")


def test_a_client_refuses_another_name_of_the_same_certificate(authority: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority, leaf_of(authority, "n1", "10.0.0.1"), "10.0.0.2")


@pytest.mark.parametrize("name", ["192.0.2.7", "registry.example.org"])
def test_what_lies_outside_the_site_is_refused_even_if_the_ca_signs_it(authority: Authority, name: str) -> None:
    leaf = authority.leaf("evil", [name], now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        handshake(authority, leaf, name)


def test_the_ca_signs_servers_only_and_no_other_ca(authority: Authority) -> None:
    ca = authority.certificate.extensions
    assert ca.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert ca.get_extension_for_class(x509.NameConstraints).critical
    leaf = x509.load_pem_x509_certificate(leaf_of(authority, "n1", "10.0.0.1").certificate.read_bytes())
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.not_valid_before_utc == NOW - BACKDATE


def test_a_leaf_stays_until_a_third_of_its_life_is_left_and_keeps_its_key(authority: Authority) -> None:
    first = leaf_of(authority, "n1", "10.0.0.1")
    data, key = first.certificate.read_bytes(), first.key.read_bytes()
    assert leaf_of(authority, "n1", "10.0.0.1", NOW + LEAF_LIFE / 2).certificate.read_bytes() == data
    renewed = leaf_of(authority, "n1", "10.0.0.1", NOW + LEAF_LIFE * 0.7)
    assert renewed.certificate.read_bytes() != data
    assert renewed.key.read_bytes() == key


def test_a_leaf_follows_its_hosts_address(authority: Authority) -> None:
    before = leaf_of(authority, "n1", "10.0.0.1").certificate.read_bytes()
    assert leaf_of(authority, "n1", "10.0.0.2").certificate.read_bytes() != before


def test_a_leaf_does_not_outlive_its_ca(authority: Authority) -> None:
    late = authority.certificate.not_valid_after_utc - timedelta(days=30)
    found = x509.load_pem_x509_certificate(leaf_of(authority, "n1", "10.0.0.1", late).certificate.read_bytes())
    assert found.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_a_new_host_outside_the_ca_is_refused_and_one_inside_a_declared_network_is_not(tmp_path: Path) -> None:
    ranged = SITE.replace("registry:\n", "addresses: [10.0.0.0/24]\nregistry:\n")
    Authority.ensure(tmp_path, declare(tmp_path, ranged).site, now=NOW)
    Authority.ensure(tmp_path, declare(tmp_path, ranged.replace("10.0.0.2", "10.0.0.77")).site, now=NOW)
    with pytest.raises(SiteError) as caught:
        Authority.ensure(tmp_path, declare(tmp_path, ranged.replace("10.0.0.2", "10.0.1.2")).site, now=NOW)
    assert caught.value.reference == "ca-too-narrow"


def test_a_foreign_key_beside_the_ca_is_found(tmp_path: Path, authority: Authority) -> None:
    leaf = leaf_of(authority, "n1", "10.0.0.1")
    (tmp_path / "ca.key").write_bytes(leaf.key.read_bytes())
    with pytest.raises(SiteError) as caught:
        Authority.open(tmp_path, declare(tmp_path).site)
    assert caught.value.reference == "ca-damaged"


def test_a_site_with_the_longest_name_gets_its_ca(tmp_path: Path) -> None:
    name = "a" * 63
    declared = declare(tmp_path, SITE.replace("name: alpha", f"name: {name}"))
    authority = Authority.ensure(tmp_path, declared.site, now=datetime.now(UTC))
    assert authority.certificate.subject.rfc4514_string() == f"CN=dryport site CA {name}"[: 3 + 64]
