"""A script on a node: what it says line by line, and how every way of ending it leaves nothing behind."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from installer.hosts.node import LocalNode, SshNode
from installer.hosts.session import running
from installer.hosts.ssh import Ssh
from installer.targets.base import Host
from registry.errors import HostError

ECHO = 'echo ready; while read -r line; do echo "said $line"; echo "code 0"; done'


def test_a_script_answers_each_line() -> None:
    with running(LocalNode(), ECHO) as session:
        assert list(session.lines("ready", 10)) == [("ready", "")]
        for word in ("one", "two words"):
            session.write(word)
            assert list(session.lines("code", 10)) == [("said", word), ("code", "0")]


def test_a_script_that_ends_too_early_is_an_error_with_what_it_said() -> None:
    with pytest.raises(HostError) as caught, running(LocalNode(), "echo no podman here >&2; exit 3") as session:
        list(session.lines("ready", 10))
    assert caught.value.reference == "node-ended"
    assert caught.value.seen == "no podman here"


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(HostError) as caught, running(LocalNode(("/nowhere/nsenter",)), ECHO):
        pass
    assert caught.value.reference == "node-ended"


@pytest.mark.parametrize("way", ["silence", "an error of ours", "the end"])
def test_however_it_ends_the_script_clears_up(way: str, tmp_path: Path) -> None:
    place = tmp_path / "store"
    traps = f"trap 'rm -r {place}' EXIT; trap 'exit 1' TERM"
    script = f"{traps}; mkdir {place}; echo ready; while read -r line; do sleep 60; done"
    began = time.monotonic()
    raised = {"silence": pytest.raises(HostError), "an error of ours": pytest.raises(RuntimeError)}
    with raised.get(way, nullcontext()), running(LocalNode(), script) as session:
        list(session.lines("ready", 10))
        assert place.is_dir()
        if way == "silence":
            session.write("work that takes a minute")
            list(session.lines("code", 0.3))
        elif way == "an error of ours":
            session.write("work that takes a minute")
            time.sleep(0.2)
            raise RuntimeError
    assert not place.exists()
    assert time.monotonic() - began < 10


def test_a_host_is_entered_by_its_pinned_key_and_as_root(tmp_path: Path) -> None:
    ssh = Ssh(tmp_path / "known_hosts")
    as_root = SshNode(ssh, Host("n1", "192.0.2.1", 22, "root", tmp_path / "key")).command("echo 'it is me'")
    assert as_root[-1] == "/bin/sh -c 'echo '\"'\"'it is me'\"'\"''"
    assert "StrictHostKeyChecking=yes" in as_root
    by_sudo = SshNode(ssh, Host("n1", "192.0.2.1", 22, "ops", tmp_path / "key")).command("true")
    assert by_sudo[-1] == "sudo -n /bin/sh -c true"
