"""Packages fetched over a line that breaks, and from a server that changed: the bytes are right or there are none."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bundles.definition import AptEntry
from bundles.lock import LockedBlob
from bundles.sources.apt import closure
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError, DryportError, RemoteError
from tests.conftest import need
from tests.package_server import PackageServer

pytestmark = pytest.mark.interop


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageServer]:
    need("apt-get", "apt-config", "dpkg-deb", "gpgv")
    server = PackageServer.start(tmp_path / "server")
    server.add("tool", "1.0+b1~x")
    server.publish()
    monkeypatch.setenv("APT_CONFIG", str(server.machine()))
    yield server
    server.stop()


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path, {}, tmp_path)


@pytest.fixture
def package(inputs: Inputs) -> LockedBlob:
    entry = AptEntry(name="host", suites=["stable"], packages=["tool"])
    return closure.resolve(entry, "1.0.0", inputs).blobs[-1]


def fetched(blob: LockedBlob, inputs: Inputs) -> bytes:
    with Fetcher(inputs)(blob) as blocks:
        return b"".join(blocks)


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "a server that knows no ranges"])
def test_a_broken_transfer_goes_on_where_it_broke(
    server: PackageServer, package: LockedBlob, inputs: Inputs, ranges: bool
) -> None:
    server.cuts, server.ranges = [100_000, 300_000, 5], ranges
    if not ranges:
        server.cuts.pop()  # it begins anew each time, so the third answer must be the whole one
    assert package.digest.matches(fetched(package, inputs))
    assert server.cuts == []


def test_a_server_from_which_nothing_more_comes_is_named_with_what_came(
    server: PackageServer, package: LockedBlob, inputs: Inputs
) -> None:
    server.cuts, server.ranges = [package.size - 1] * 2, False
    with pytest.raises(RemoteError) as caught:
        fetched(package, inputs)
    assert caught.value.reference == "package-server-failed"
    assert f"{package.size - 1} bytes" in caught.value.seen


def test_a_package_that_is_gone_says_lock_again(server: PackageServer, package: LockedBlob, inputs: Inputs) -> None:
    next((server.folder / "pool").rglob("*.deb")).unlink()
    with pytest.raises(DefinitionError) as caught:
        fetched(package, inputs)
    assert caught.value.reference == "source-changed"
    assert "tool 1.0+b1~x" in caught.value.message


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_server_that_refuses_is_named(
    server: PackageServer, package: LockedBlob, inputs: Inputs, status: int
) -> None:
    server.status = status
    with pytest.raises(RemoteError) as caught:
        fetched(package, inputs)
    assert caught.value.reference == "package-server-failed"
    assert str(status) in caught.value.message
    assert caught.value.where.startswith(server.url)


def test_a_server_that_is_down_is_named(server: PackageServer, package: LockedBlob, inputs: Inputs) -> None:
    url = server.url
    server.stop()
    with pytest.raises(DryportError) as caught:
        fetched(package, inputs)
    assert caught.value.reference == "package-server-failed"
    assert caught.value.where.startswith(url)


def test_the_machines_proxy_is_asked_instead_of_the_server(
    server: PackageServer, package: LockedBlob, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = PackageServer.start(tmp_path / "proxy")
    monkeypatch.setenv("APT_CONFIG", str(server.machine(settings=f'Acquire::http::Proxy "{proxy.url[:-7]}";')))
    before = len(server.asked)
    with pytest.raises(DefinitionError):  # the proxy of this test has nothing; it must be the one that was asked
        fetched(package, inputs)
    assert len(server.asked) == before
    assert [path.startswith(server.url) for path in proxy.asked] == [True]
    proxy.stop()


@pytest.mark.parametrize("trouble", ["gone", "refused", "down", "proxied", "no list"])
def test_a_password_in_the_machines_sources_is_never_told(
    server: PackageServer, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    uri = server.url.replace("://", "://anna:hunter2@")
    monkeypatch.setenv("APT_CONFIG", str(server.machine(uri=uri)))
    entry = AptEntry(name="host", suites=["stable"], packages=["tool"])
    package = closure.resolve(entry, "1.0.0", inputs).blobs[-1]
    if trouble in ("gone", "no list"):
        for path in server.folder.rglob("InRelease" if trouble == "no list" else "*.deb"):
            path.unlink()
    elif trouble == "refused":
        server.status = 403
    else:
        server.stop()
    if trouble == "proxied":
        settings = f'Acquire::http::Proxy "{server.url[:-7]}";'
        monkeypatch.setenv("APT_CONFIG", str(server.machine(uri=uri, settings=settings)))
    act = (
        partial(closure.resolve, entry, "1.0.0", inputs) if trouble == "no list" else partial(fetched, package, inputs)
    )
    with pytest.raises(DryportError) as caught:
        act()
    assert "127.0.0.1" in caught.value.where
    assert "hunter2" not in str(caught.value.as_json())
