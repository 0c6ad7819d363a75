"""The systemd unit that `registry unit` prints, and what `registry ready` says of a registry that runs."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from installer.cli.main import main
from registry.server.schedule import END_SECONDS
from registry.server.serve import STOP_SECONDS
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.registry_process import COMMAND, in_time, serving

PROGRAM = Path(sys.executable).with_name("dryport")
CONFIG = (
    "listen: 0.0.0.0:5000\ncertificate: tls/a.pem\nkey: tls/a.key\nusers: users\nstore: /var/lib/dryport/registry\n"
)


def told(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["registry", *map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert ended.value.code == code, out + err
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, list[str]]]:
    """Return the service's settings, each with all its values, for a configuration."""

    def make(config: str = CONFIG, folder: str = "etc", *more: object) -> dict[str, list[str]]:
        path = tmp_path / folder / "config.yaml"
        path.parent.mkdir()
        path.write_text(config)
        text = told(capsys, "unit", "--config", path, "--program", PROGRAM, *more)["unit"]
        (path.parent / "dryport-registry.service").write_text(text)
        found: dict[str, list[str]] = {}
        for line in text.splitlines():
            if "=" in line and not line.startswith("#"):
                name, _, value = line.partition("=")
                found.setdefault(name, []).append(value)
        return found

    return make


def test_the_service_may_write_its_store_and_nothing_else(unit: Callable[..., dict[str, list[str]]]) -> None:
    found = unit()
    assert found["StateDirectory"] == ["dryport/registry"]
    assert "ReadWritePaths" not in found
    found = unit("store: /srv/registry\naccess: /var/lib/access\n", "elsewhere")
    assert (found["ReadWritePaths"], found["StateDirectory"]) == (["/srv/registry"], ["access"])
    assert found["ProtectSystem"] == ["strict"]


def test_a_port_below_1024_is_what_the_one_capability_is_for(unit: Callable[..., dict[str, list[str]]]) -> None:
    names = ("CapabilityBoundingSet", "AmbientCapabilities")
    high = unit()
    assert [high[name] for name in names] == [[""], [""]]
    low = unit(CONFIG.replace("5000", "443"), "low")
    assert [low[name] for name in names] == [["CAP_NET_BIND_SERVICE"]] * 2


def test_all_that_is_under_way_has_the_time_that_the_server_gives_it(
    unit: Callable[..., dict[str, list[str]]],
) -> None:
    found = unit()
    assert found["KillMode"] == ["mixed"]
    assert int(found["TimeoutStopSec"][0]) > STOP_SECONDS + END_SECONDS


def test_a_reload_checks_first_and_then_sends_the_signal(unit: Callable[..., dict[str, list[str]]]) -> None:
    check, signal = unit()["ExecReload"]
    assert shlex.split(check)[-1] == "--check"
    assert signal == '/bin/sh -c "kill -HUP $MAINPID"'


def test_it_is_an_ini_file_whose_comments_stand_alone(
    tmp_path: Path, unit: Callable[..., dict[str, list[str]]]
) -> None:
    unit()
    text = (tmp_path / "etc/dryport-registry.service").read_text()
    parsed = configparser.RawConfigParser(strict=False)
    parsed.read_string(text)
    assert parsed.sections() == ["Unit", "Service", "Install"]
    assert not re.search(r"[^\n]#", text)


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        ("listen: 0.0.0.0:5000\nstore: s\n", "tls-missing"),
        ("store: ../s\n", "path-unspeakable"),
        ('store: "a\\nExecStart=/bin/evil"\n', "path-unspeakable"),
    ],
)
def test_what_a_unit_cannot_say_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str, reference: str
) -> None:
    (tmp_path / "config.yaml").write_text(config)
    assert told(capsys, "unit", "--config", tmp_path / "config.yaml", code=6)["reference"] == reference


def test_a_user_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    error = told(capsys, "unit", "--config", tmp_path / "config.yaml", "--user", "root; rm", code=2)
    assert error["reference"] == "user-malformed"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    identity = Authority(tmp_path).issue("registry.example.org")
    identity.certificate.rename(tmp_path / "server.pem")
    identity.key.rename(tmp_path / "server.key")
    (tmp_path / "users").write_text(user_line("ann", "pw", ["pull:*"], iterations=100_000) + "\n")
    Store.open(tmp_path / "store").close()
    return tmp_path


TLS = "certificate: server.pem\nkey: server.key\nusers: users\nstore: store\n"


@pytest.mark.parametrize("config", [TLS, "users: users\nstore: store\n"], ids=["TLS", "plain"])
def test_ready_is_said_of_a_registry_that_serves_whatever_its_name(
    folder: Path, capsys: pytest.CaptureFixture[str], config: str
) -> None:
    with serving(folder, config):
        assert told(capsys, "ready", "--config", folder / "config.yaml")["isReady"] is True
    error = told(capsys, "ready", "--config", folder / "config.yaml", code=8)
    assert error["reference"] == "registry-not-ready"
    assert "refused" in error["seen"]


def test_ready_is_not_said_of_another_server_on_the_port(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(folder, TLS):
        other = Authority(folder, "other").issue("registry.example.org")
        config = (folder / "config.yaml").read_text().replace("server.pem", other.certificate.name)
        (folder / "other.yaml").write_text(config.replace("server.key", other.key.name))
        error = told(capsys, "ready", "--config", folder / "other.yaml", code=8)
    assert "certificate" in error["seen"].lower()


def test_ready_is_not_said_of_a_store_that_does_not_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(folder, TLS):
        (folder / "store/incoming").rename(folder / "store/away")
        error = told(capsys, "ready", "--config", folder / "config.yaml", code=8)
        assert error["seen"].startswith("503")
        (folder / "store/away").rename(folder / "store/incoming")
        assert told(capsys, "ready", "--config", folder / "config.yaml")["isReady"] is True


@contextmanager
def supervisor(place: str) -> Iterator[list[bytes]]:
    """Listen as systemd does, and give what was said."""
    said: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(place)
        line.settimeout(30)
        thread = threading.Thread(target=lambda: said.append(line.recv(4096)), daemon=True)
        thread.start()
        yield said
        thread.join(30)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_supervisor_is_told_once_the_registry_serves(folder: Path, workers: int, kind: str) -> None:
    shown = str(folder / "notify") if kind == "path" else f"@dryport-test-{folder.parent.name}-{workers}"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "config.yaml").write_text(f"listen: 127.0.0.1:{port}\nworkers: {workers}\n{TLS}")
    with supervisor(shown.replace("@", "\0", 1) if kind == "abstract" else shown) as said:
        command = [*COMMAND, "registry", "serve", "--config", folder / "config.yaml"]
        process = subprocess.Popen(command, env={"NOTIFY_SOCKET": shown}, stdout=subprocess.DEVNULL)
        try:
            in_time(lambda: bool(said))
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                assert said == [b"READY=1"]
        finally:
            process.kill()
            process.wait()
