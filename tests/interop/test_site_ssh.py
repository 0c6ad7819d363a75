"""Enrolment, facts, questions and forwards against a real sshd on the loopback, run by this user."""

from __future__ import annotations

import http.server
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from installer.hosts import enrol
from installer.hosts.ask import ask
from installer.hosts.facts import gather
from installer.hosts.forward import forward
from installer.hosts.ssh import Ssh
from installer.site.pki import Authority
from installer.targets.base import Host
from registry.errors import HostError, UsageError
from tests.conftest import absent, need, need_root
from tests.lab.debian import DebianError, unpacked
from tests.site_samples import SITE, declare


def key_pair(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def fingerprint(key: Path) -> str:
    listed = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], check=True, capture_output=True, text=True)
    return listed.stdout.split()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


START = """
grep -v ^sshd: /etc/passwd > "$1" && echo sshd:x:101:65534::/run/sshd:/usr/sbin/nologin >> "$1"
mount --bind "$1" /etc/passwd
mkdir -p /run/sshd && exec env LD_LIBRARY_PATH="$(echo "$2"/usr/lib/*-linux-gnu)" "$2/usr/sbin/sshd" -D -e -f "$3"
"""
"""Run by root, sshd wants a user of its own, which a machine without the package has not."""


@contextmanager
def sshd(folder: Path, host_key: Path, user_key: Path, port: int) -> Iterator[Host]:
    need("ssh", "ssh-keygen")
    need_root()
    try:
        root = unpacked("openssh-server", "libwrap0")  # installed, it would listen on the machine that runs the tests
    except DebianError as error:
        absent(f"sshd is not there: {error}")
        raise
    authorized = folder / "authorized_keys"
    authorized.write_bytes(Path(f"{user_key}.pub").read_bytes())
    config = folder / f"sshd_config_{port}"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {host_key}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {authorized}\nPasswordAuthentication no\n"
    )
    server = subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", START, "sh", str(folder / f"passwd_{port}"), str(root), str(config)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
        yield Host("n1", "127.0.0.1", port, user, user_key)
    finally:
        server.terminate()
        server.wait(10)


def wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    need("ssh-keygen")
    return key_pair(tmp_path / "host"), key_pair(tmp_path / "user")


@pytest.fixture
def host(tmp_path: Path, keys: tuple[Path, Path]) -> Iterator[Host]:
    with sshd(tmp_path, *keys, free_port()) as running:
        yield running


@pytest.fixture
def ssh(tmp_path: Path, host: Host) -> Ssh:
    """SSH for which the host is enrolled, in a folder whose name has a space and a percent sign."""
    (tmp_path / "a 100%h home").mkdir()
    known = tmp_path / "a 100%h home" / "known_hosts"
    enrol.pin(host, enrol.scan(host), known)
    return Ssh(known)


def test_a_scan_shows_what_ssh_keygen_prints_at_the_hosts_console(host: Host, keys: tuple[Path, Path]) -> None:
    assert [key.fingerprint for key in enrol.scan(host)] == [fingerprint(keys[0])]


def test_only_a_confirmed_key_is_pinned(tmp_path: Path, host: Host, keys: tuple[Path, Path]) -> None:
    shown, known = enrol.scan(host), tmp_path / "known_hosts"
    with pytest.raises(HostError) as caught:
        enrol.choose(host, shown, [fingerprint(keys[1])])
    assert caught.value.reference == "host-key-mismatch"
    assert fingerprint(keys[0]) in caught.value.seen
    assert enrol.pin(host, enrol.choose(host, shown, [fingerprint(keys[0])]), known)
    assert not enrol.pin(host, shown, known)
    assert enrol.pinned(host, known) == shown


@pytest.mark.parametrize("text", ["n1", "n1=MD5:00", "n9=SHA256:" + "A" * 43, "n1=SHA256:short"])
def test_a_confirmation_that_is_none_is_refused(host: Host, text: str) -> None:
    with pytest.raises(UsageError):
        enrol.confirmations([text], [host])


def test_an_enrolled_host_is_asked_and_runs_what_it_gets(ssh: Ssh, host: Host) -> None:
    assert ssh.run(host, "echo $((6 * 7)); exit 3").output == "42\n"
    assert gather(ssh, host, ports=(host.port,)).ports == {host.port: False}


def test_a_host_that_was_never_enrolled_is_refused(tmp_path: Path, host: Host) -> None:
    with pytest.raises(HostError) as caught:
        Ssh(tmp_path / "none").run(host, "true")
    assert caught.value.reference == "host-not-enrolled"


def test_a_changed_host_key_stops_everything_and_both_keys_are_named(
    tmp_path: Path, ssh: Ssh, keys: tuple[Path, Path], host: Host
) -> None:
    other = key_pair(tmp_path / "other")
    with sshd(tmp_path, other, keys[1], free_port()) as impostor:
        # the same place in known_hosts as the enrolled host, another key behind it
        line = ssh.known_hosts.read_text().replace(host.place, impostor.place)
        ssh.known_hosts.write_text(line)
        for act in (lambda: ssh.run(impostor, "true"), lambda: forward(ssh, impostor, there=1, here=2).__enter__()):
            with pytest.raises(HostError) as caught:
                act()
            error = caught.value
            assert (error.reference, error.exit_code) == ("host-key-changed", 7)
            assert (error.expected, error.seen) == (fingerprint(keys[0]), fingerprint(other))
        with pytest.raises(HostError) as caught:
            enrol.pin(impostor, enrol.scan(impostor), ssh.known_hosts)
        assert caught.value.reference == "host-key-changed"
        assert enrol.pin(impostor, enrol.scan(impostor), ssh.known_hosts, replace=True)
        assert ssh.run(impostor, "echo well").output == "well\n"


def test_a_host_that_does_not_answer_and_one_that_refuses_the_key_are_told_apart(
    tmp_path: Path, ssh: Ssh, host: Host
) -> None:
    nobody = replace(host, port=free_port())
    with pytest.raises(HostError) as caught:
        ssh.run(nobody, "true")
    assert caught.value.reference == "host-unreachable"
    with pytest.raises(HostError) as caught:
        enrol.scan(nobody)
    assert caught.value.reference == "host-unreachable"
    stranger = replace(host, key=key_pair(tmp_path / "stranger"))
    with pytest.raises(HostError) as caught:
        ssh.run(stranger, "true")
    assert caught.value.reference == "host-login-refused"


def test_a_host_that_hangs_is_given_up(ssh: Ssh, host: Host) -> None:
    with pytest.raises(HostError) as caught:
        ssh.run(host, "sleep 60", seconds=0.5)
    assert caught.value.reference == "host-unreachable"


@contextmanager
def echo_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                with link:
                    link.sendall(b"from here: " + link.recv(64))

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def through(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as link:
        link.sendall(b"hello")
        link.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: link.recv(64), b""))


def is_closed(port: int) -> bool:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return True
        time.sleep(0.05)
    return False


def test_a_host_reaches_us_while_the_forward_stands_and_not_after(ssh: Ssh, host: Host, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    shared, there = replace(ssh, control=tmp_path / "c"), free_port()
    with echo_server() as here:
        with forward(shared, host, there=there, here=here):
            assert through(there) == b"from here: hello"
            assert shared.run(host, "echo shared").output == "shared\n"
            assert shared.socket(host).exists()
        assert is_closed(there)
        with forward(shared, host, there=there, here=here):  # at once again, on the same port
            assert through(there) == b"from here: hello"


def test_a_taken_port_on_the_host_is_named(ssh: Ssh, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("installer.hosts.forward.PAUSE_SECONDS", 0.01)
    with echo_server() as taken, pytest.raises(HostError) as caught, forward(ssh, host, there=taken, here=1):
        pass
    assert caught.value.reference == "forward-port-taken"


def test_a_forward_ends_with_the_process_that_opened_it_even_if_that_is_killed(ssh: Ssh, host: Host) -> None:
    there = free_port()
    script = f"""
        import time
        from pathlib import Path
        from installer.hosts.forward import forward
        from installer.hosts.ssh import Ssh
        from installer.targets.base import Host
        host = Host("n1", "127.0.0.1", {host.port}, {host.user!r}, Path({str(host.key)!r}))
        with forward(Ssh(Path({str(ssh.known_hosts)!r})), host, there={there}, here=9):
            print("stands", flush=True)
            time.sleep(60)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"stands\n"
    wait_for(there)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert is_closed(there)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """An HTTPS service under a site CA, as a registry on a host would be; its port and the CA's file."""
    site = declare(tmp_path, SITE.replace("10.0.0.1", "127.0.0.1")).site
    now = datetime.now(UTC)
    leaf = Authority.ensure(tmp_path, site, now=now).leaf("n1", ["127.0.0.1"], now=now)

    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 503)
            self.end_headers()
            self.wfile.write(b"said")

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], tmp_path / "ca.pem"
        server.shutdown()


def test_a_service_on_a_host_is_asked_through_ssh_under_the_site_ca(
    ssh: Ssh, host: Host, service: tuple[int, Path]
) -> None:
    port, ca = service
    assert ask(ssh, host, port=port, path="/readyz", ca=ca).status == 200
    reply = ask(ssh, host, port=port, path="/", ca=ca)
    assert (reply.status, reply.body) == (503, "said")


def test_a_service_under_another_ca_or_none_at_all_is_not_believed(
    ssh: Ssh, host: Host, service: tuple[int, Path], tmp_path: Path
) -> None:
    (tmp_path / "foreign").mkdir()
    site = declare(tmp_path / "foreign").site
    Authority.ensure(tmp_path / "foreign", site, now=datetime.now(UTC))
    for port, ca in ((service[0], tmp_path / "foreign/ca.pem"), (free_port(), service[1])):
        with pytest.raises(HostError) as caught:
            ask(ssh, host, port=port, path="/readyz", ca=ca)
        assert caught.value.reference == "service-not-answering"


def test_a_host_that_hangs_up_in_the_middle_of_a_scan_is_told_of(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    link = listener.accept()[0]
                except OSError:
                    return
                link.sendall(b"SSH-2.0-nobody\r\n")
                link.recv(100)
                link.close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(HostError) as caught:
            enrol.scan(replace(host, port=listener.getsockname()[1]))
        assert caught.value.reference == "host-unreachable"
        listener.shutdown(socket.SHUT_RDWR)
