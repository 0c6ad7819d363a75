"""nginx in front, as docs/registry-behind-nginx.md says: it sends the blobs, and the registry decides who gets them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.errors import UsageError
from registry.oci.digest import Digest
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.bench.registries.client import Blob, Client
from tests.conftest import need

PAGE = Path(__file__).parents[2] / "docs/registry-behind-nginx.md"
DATA = os.urandom(300_000)
DIGEST = Digest.of(DATA)
AT = f"/v2/team/app/blobs/{DIGEST}"
MAIN = """\
user root;
worker_processes 1;
error_log stderr;
pid {folder}/pid;
events {{}}
http {{
access_log off;
{temps}
{server}}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    need("nginx")
    folder = tmp_path_factory.mktemp("nginx")
    users = folder / "users"
    lines = [
        user_line("admin", "pw", ["pull,push,delete:*"], iterations=100_000),
        user_line("stranger", "pw", ["pull:elsewhere/*"], iterations=100_000),
    ]
    users.write_text("\n".join(lines) + "\n")
    authority = Authority(folder)
    identity, port = authority.issue(), free_port()
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    with Store.open(folder / "store") as store, Running(Settings(users=users, accel="/-/blobs"), store) as running:
        store.put_blob("team/app", DIGEST, [DATA])
        server = found[1].replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
        server = server.replace("127.0.0.1:5000", f"127.0.0.1:{running.port}")
        server = server.replace("/etc/nginx/registry.pem", str(identity.certificate))
        server = server.replace("/etc/nginx/registry.key", str(identity.key))
        server = server.replace("/var/lib/dryport/registry/blobs", str(folder / "store/blobs"))
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temps = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        config = folder / "nginx.conf"
        config.write_text(MAIN.format(folder=folder, temps=temps, server=server))
        command = ["nginx", "-c", str(config), "-p", str(folder), "-g", "daemon off;"]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as nginx:
            try:
                wait_for(port, nginx)
                yield port, authority.ca
            finally:
                nginx.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return
    pytest.fail((process.stderr.read() if process.stderr else b"").decode())


@pytest.fixture
def client(front: tuple[int, Path]) -> Iterator[Client]:
    with Client(front[0], ca=front[1], headers=Client.basic("admin", "pw")) as opened:
        yield opened


def test_a_blob_comes_whole_and_with_the_registry_s_headers(client: Client) -> None:
    answer = client.ask("GET", AT)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["docker-content-digest"] == str(DIGEST)
    assert answer.headers["etag"] == f'"{DIGEST}"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "x-accel-redirect" not in answer.headers
    head = client.ask("HEAD", AT)
    assert (head.status, head.headers["content-length"]) == (200, str(len(DATA)))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("bytes=500-1499", DATA[500:1500]), ("bytes=299000-", DATA[299000:]), ("bytes=-500", DATA[-500:])],
)
def test_ranges_are_nginx_s_work(client: Client, wanted: str, expected: bytes) -> None:
    answer = client.ask("GET", AT, Range=wanted)
    assert (answer.status, answer.body) == (206, expected)


def test_a_range_behind_the_end_cannot_be_had(client: Client) -> None:
    assert client.ask("GET", AT, Range="bytes=300000-").status == 416


@pytest.mark.parametrize(("name", "status"), [("stranger", 403), ("nobody", 401), ("", 401)])
def test_who_may_not_pull_gets_nothing(front: tuple[int, Path], name: str, status: int) -> None:
    headers = Client.basic(name, "pw") if name else {}
    with Client(front[0], ca=front[1], headers=headers) as other:
        assert other.ask("GET", AT).status == status


def test_files_cannot_be_asked_for_past_the_registry(client: Client) -> None:
    answer = client.ask("GET", f"/-/blobs/sha256/{DIGEST.hex}")
    assert answer.status == 404
    assert DATA[:100] not in answer.body


@pytest.mark.parametrize("chunked", [False, True])
def test_uploads_go_through(client: Client, *, chunked: bool) -> None:
    blob = Blob(2_000_000)
    client.push_blob("team/app", blob, chunked=chunked)
    assert client.ask("HEAD", f"/v2/team/app/blobs/{blob.digest}").status == 200


@pytest.mark.parametrize(("host", "accel"), [("127.0.0.1", "blobs"), ("127.0.0.1", "/a/../b")])
def test_a_place_that_is_none_is_refused(host: str, accel: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(host=host, accel=accel)
    assert caught.value.reference == "accel-invalid"


def test_blobs_are_never_left_to_an_nginx_that_is_not_on_this_machine(tmp_path: Path) -> None:
    identity = Authority(tmp_path).issue()
    with pytest.raises(UsageError) as caught:
        Settings(host="192.0.2.1", accel="/-/blobs", certificate=identity.certificate, key=identity.key)
    assert caught.value.reference == "accel-invalid"
