"""The server around the API: settings, certificates, users that change, damage, the end by SIGTERM."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from registry.content import Content
from registry.errors import MediaError, SiteError, UsageError
from registry.oci.digest import Digest
from registry.server.routes import match
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority

ITERATIONS = 100_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def ask(url: str, path: str, login: str | None = None, **options: object) -> urllib3.BaseHTTPResponse:
    headers = urllib3.make_headers(basic_auth=login) if login else {}
    with urllib3.PoolManager(retries=False, timeout=20, **options) as pool:  # type: ignore[arg-type]
        return pool.request("GET", url + path, headers=headers)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "registry.example.org", "::"])  # noqa: S104
def test_beyond_loopback_there_is_no_registry_without_tls(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(host=host)
    assert caught.value.reference == "tls-missing"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_tests_may_speak_plainly(host: str) -> None:
    assert Settings(host=host).certificate is None


def test_a_certificate_without_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(certificate=tmp_path / "c.pem")
    assert caught.value.reference == "tls-incomplete"


def test_only_the_authority_of_the_certificate_is_satisfied(tmp_path: Path, store: Store) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    identity = ours.issue()
    settings = Settings(certificate=identity.certificate, key=identity.key, anonymous_pull=True)
    with Running(settings, store) as running:
        assert running.url == f"https://127.0.0.1:{running.port}"
        assert ask(running.url, "/v2/", ca_certs=str(ours.ca)).status == 200
        with pytest.raises(urllib3.exceptions.SSLError):
            ask(running.url, "/v2/", ca_certs=str(theirs.ca))


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, store: Store) -> None:
    one, other = Authority(tmp_path, "one").issue(), Authority(tmp_path, "other").issue("localhost")
    for certificate, key in ((one.certificate, other.key), (tmp_path / "missing", one.key)):
        with pytest.raises(SiteError) as caught:
            Running(Settings(certificate=certificate, key=key), store)
        assert caught.value.reference == "certificate-unusable"


def test_a_taken_port_is_named(store: Store) -> None:
    with Running(Settings(), store) as running, pytest.raises(SiteError) as caught:
        Running(Settings(port=running.port), store)
    assert caught.value.reference == "address-unusable"


def test_a_missing_users_file_stops_the_start(tmp_path: Path, store: Store) -> None:
    with pytest.raises(SiteError) as caught:
        Running(Settings(users=tmp_path / "none"), store)
    assert caught.value.reference == "users-unreadable"


def test_a_changed_users_file_counts_at_once(tmp_path: Path, store: Store) -> None:
    users = tmp_path / "users"
    users.write_text(user_line("old", "x", ["pull:*"], iterations=ITERATIONS))
    with Running(Settings(users=users), store) as running:
        assert ask(running.url, "/v2/", "old:x").status == 200
        users.write_text(user_line("new", "y", ["pull:*"], iterations=ITERATIONS) + "\n")
        assert ask(running.url, "/v2/", "old:x").status == 401
        assert ask(running.url, "/v2/", "new:y").status == 200
        users.write_text("not a line")
        assert ask(running.url, "/v2/", "new:y").status == 500
        users.unlink()
        assert ask(running.url, "/v2/", "new:y").status == 401


class Damaged:
    """A mount in which everything from 4 MiB on is damaged."""

    size = 9 << 20

    def __init__(self, first_bad: int) -> None:
        self.first_bad = first_bad
        self.is_closed = False

    def repositories(self) -> list[str]:
        return ["a"]

    def tags(self, repository: str) -> list[str]:  # noqa: ARG002
        return []

    def blob(self, repository: str, digest: Digest) -> Content:  # noqa: ARG002
        return self

    def is_absent(self, repository: str, digest: Digest) -> bool:  # noqa: ARG002
        return False

    def read(self, offset: int, length: int) -> bytes:
        if offset + length > self.first_bad:
            raise MediaError("blob-damaged", "a chunk does not match its signed digest", where="/secret/path")
        return bytes(length)

    def close(self) -> None:
        self.is_closed = True


def test_damage_at_the_beginning_is_an_error_that_names_no_path() -> None:
    mount = Damaged(0)
    with Running(Settings(anonymous_pull=True), None, [mount]) as running:  # type: ignore[list-item]
        answer = ask(running.url, f"/v2/a/blobs/{Digest.of(b'x')}")
    assert answer.status == 500
    assert b"secret" not in answer.data
    assert mount.is_closed


def test_damage_in_the_middle_breaks_the_connection() -> None:
    mount = Damaged(4 << 20)
    with Running(Settings(anonymous_pull=True), None, [mount]) as running:  # type: ignore[list-item]
        with pytest.raises(urllib3.exceptions.ProtocolError):
            ask(running.url, f"/v2/a/blobs/{Digest.of(b'x')}")
        assert mount.is_closed
        assert ask(running.url, "/livez").status == 200


@pytest.mark.parametrize(
    ("path", "repository", "argument"),
    [
        ("/v2/a/manifests/1", "a", "1"),
        ("/v2/a/blobs/b/manifests/latest", "a/blobs/b", "latest"),
        ("/v2/a/blobs/uploads/manifests/latest", "a/blobs/uploads", "latest"),
        ("/v2/a/blobs/uploads/", "a", ""),
        ("/v2/blobs/uploads/blobs/uploads/x", "blobs/uploads", "x"),
        ("/v2/a/manifests/tags/list", "a/manifests", ""),
    ],
)
def test_routes_are_read_from_the_right(path: str, repository: str, argument: str) -> None:
    found = match(path)
    assert found is not None
    assert (found.repository, found.argument) == (repository, argument)


SERVE = """
import sys
from pathlib import Path
from registry.server.serve import serve
from registry.server.settings import Settings
from registry.store.store import Store
with Store.open(Path(sys.argv[1])) as store:
    serve(Settings(port=int(sys.argv[2]), anonymous_pull=True), store)
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_served_registry_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", SERVE, str(tmp_path / "store"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}")
            process.send_signal(number)
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, output) == (0, b"ended\n")


def wait_for(url: str) -> None:
    retries = urllib3.Retry(total=None, connect=200, backoff_factor=0.1, backoff_max=0.2)
    with urllib3.PoolManager(timeout=20) as pool:
        assert pool.request("GET", f"{url}/readyz", retries=retries).status == 200
