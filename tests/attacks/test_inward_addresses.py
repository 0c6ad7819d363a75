"""Where a registry may not lead: to this machine, to addresses that only it can mean, and to plain HTTP elsewhere."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.client import wire
from registry.client.access import Access
from registry.client.push import RemoteTarget
from registry.client.transport import Limits, Transport
from registry.errors import RemoteError
from registry.oci.manifest import OCI_LAYER
from tests.attacks.scripted_server import Request, ScriptedServer
from tests.authority import Authority
from tests.oci_samples import descriptor

LAYER = descriptor(b"{}", OCI_LAYER)
QUICK = Limits(attempts=1, connect_seconds=1, read_seconds=2, first_pause=0.01)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names of example.org lead to loopback, as a hostile or wrong DNS would."""
    real = socket.getaddrinfo

    def lookup(host: str, *arguments: object) -> object:
        return real("127.0.0.1" if host.endswith("example.org") else host, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@pytest.fixture
def inside(authority: Authority) -> Iterator[ScriptedServer]:
    with ScriptedServer(authority.issue("127.0.0.1", "storage.example.org"), lambda r: r.reply(200, b"{}")) as server:
        yield server


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("host", ["127.0.0.1", "storage.example.org"])
def test_a_registry_elsewhere_does_not_lead_to_this_machine(
    authority: Authority, inside: ScriptedServer, host: str
) -> None:
    port = inside.server_address[1]
    identity = authority.issue("registry.example.org")
    with ScriptedServer(identity, lambda r: r.reply(307, Location=f"https://{host}:{port}/secret")) as server:
        transport = Transport(f"https://registry.example.org:{server.server_address[1]}", Access(authority.ca), QUICK)
        with pytest.raises(RemoteError) as caught:
            RemoteTarget(transport).has_blob("team/app", LAYER)
        transport.close()
    assert "only this machine can mean" in caught.value.seen
    assert inside.asked == []


def test_a_registry_on_this_machine_may_lead_to_this_machine(authority: Authority, inside: ScriptedServer) -> None:
    with ScriptedServer(authority.issue(), lambda r: r.reply(307, Location=f"{inside.url}/blob")) as server:
        transport = Transport(server.url, Access(authority.ca), QUICK)
        assert RemoteTarget(transport).has_blob("team/app", LAYER)
        transport.close()
    assert inside.asked == ["HEAD /blob"]


def test_plain_http_ends_on_this_machine_whatever_the_name_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: Request) -> None:
        asked.append(request.path)
        request.reply(200)

    with ScriptedServer(None, answer) as server:
        monkeypatch.setattr(wire, "_peer", lambda _: ipaddress.ip_address("192.0.2.1"))
        transport = Transport(server.url, limits=QUICK)
        with pytest.raises(RemoteError, match="does not answer") as caught:
            RemoteTarget(transport).has_blob("team/app", LAYER)
        transport.close()
    assert "is not this machine" in caught.value.seen
    assert asked == []
