"""What the real ansible-playbook says, and that no secret is among it; and what of the user's settings it inherits."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from installer.cli.lifecycle import _ansible_playbook
from installer.hosts.ansible import MESSAGE_CHARACTERS, Ansible, Outcome
from installer.hosts.ssh import Ssh
from installer.site.secrets import MASK, Secret, masked
from installer.targets.base import Host
from registry.errors import HostError

PASSWORD = "correct-horse-battery"
LOCAL = "- hosts: all\n  connection: local\n  gather_facts: false\n  vars: {ansible_python_interpreter: python3}\n"


def ran(folder: Path, playbook: str) -> Outcome:
    """Run a playbook here, whose variable `password` is a secret."""
    for name in ("playbooks", "scratch"):
        (folder / name).mkdir()
    (folder / "playbooks" / "step.yml").write_text(playbook)
    program = Path(sys.executable).with_name("ansible-playbook")
    ansible = Ansible(program, folder / "playbooks", Ssh(folder / "known_hosts"), folder / "scratch")
    host = Host("n1", "127.0.0.1", 22, "root", folder / "id")
    told: list[str] = []
    hidden = [Secret(PASSWORD)]
    outcome = ansible.run(host, "step.yml", {"password": PASSWORD}, told.append, lambda text: masked(text, hidden))
    assert not any(PASSWORD in text for text in told)
    return outcome


def test_a_playbook_that_cannot_be_run_tells_no_secret(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        ran(tmp_path, '- import_playbook: "{{ password }}.yml"\n')
    assert caught.value.reference == "ansible-failed"
    assert MASK in caught.value.seen
    assert PASSWORD not in str(caught.value.as_json())


def test_a_secret_at_the_edge_of_a_long_message_is_not_told_by_half(tmp_path: Path) -> None:
    long = "x" * (MESSAGE_CHARACTERS - 5)
    outcome = ran(tmp_path, f'{LOCAL}  tasks:\n    - fail: {{msg: "{long}{{{{ password }}}}"}}\n')
    assert outcome.failures[0].message.endswith(f"x{MASK}")
    assert PASSWORD not in outcome.log


def test_no_setting_of_the_user_reaches_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_LOG_PATH", "/tmp/everything.log")
    monkeypatch.setenv("ANSIBLE_KEEP_REMOTE_FILES", "1")
    _ansible_playbook()
    assert [name for name in os.environ if name.startswith("ANSIBLE_")] == []
