"""What can be said of the playbooks without a host: clean for ansible-lint, and alike in every role."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
ROLES = sorted((PROJECT / "playbooks" / "roles").iterdir())
TEMPLATES = PROJECT / "playbooks" / "templates"
BIN = Path(sys.executable).parent
VERBS = {"precheck", "install", "configure", "check", "upgrade", "rollback", "backup", "restore", "remove"}
SECRETS = re.compile(r"dryport_(pull_password|registry_key|registry_users)\b")
KEYWORDS = {
    *("name", "when", "loop", "loop_control", "register", "changed_when", "failed_when", "until", "retries", "delay"),
    *("no_log", "diff", "vars", "environment", "notify", "args", "delegate_to", "become", "check_mode"),
    *("block", "always", "rescue"),
}

by_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def tasks(role: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task of a role, those in blocks too, with the file it stands in."""
    for file in sorted([*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")]):
        for task in yaml.safe_load(file.read_text()):
            yield from ((file.name, one) for one in _flat(task))


def _flat(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield task
    for part in ("block", "always", "rescue"):
        for inner in task.get(part, []):
            yield from _flat(inner)


def modules(task: dict[str, Any]) -> list[str]:
    return [key for key in task if key not in KEYWORDS]


def reads_secrets(role: Path, task: dict[str, Any]) -> bool:
    """Whether a task itself, or a template it renders, holds a secret."""
    own = {key: value for key, value in task.items() if key not in {"block", "always", "rescue"}}
    if SECRETS.search(yaml.safe_dump(own)):
        return True
    source = (task.get("ansible.builtin.template") or {}).get("src", "")
    names = [source.replace("{{ item }}", str(item)) for item in task.get("loop", [""])]
    found = [path for name in names for path in (role / "templates" / name, TEMPLATES / name) if path.is_file()]
    return any(SECRETS.search(_included(path)) for path in found)


def _included(template: Path) -> str:
    text = template.read_text()
    return text + "".join((TEMPLATES / name).read_text() for name in re.findall(r"include '([^']+)'", text))


def ansible(*command: str, scratch: Path) -> subprocess.CompletedProcess[str]:
    surroundings = {"PATH": f"{BIN}:{os.defpath}", "HOME": str(scratch), "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=PROJECT,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_ansible_lint_finds_nothing_under_its_strictest_profile(tmp_path: Path):
    done = ansible("ansible-lint", "--offline", "-q", "playbooks", scratch=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ansible_reads_the_one_playbook(tmp_path: Path):
    done = ansible("ansible-playbook", "--syntax-check", "-i", "host,", "playbooks/step.yml", scratch=tmp_path)
    assert done.returncode == 0, done.stderr


@by_role
def test_a_roles_entry_files_are_verbs_and_each_declares_what_it_is_given(role: Path):
    files = {file.stem for file in role.glob("tasks/*.yml")}
    parts = set(re.findall(r"include_tasks: (\w+)\.yml", "".join(f.read_text() for f in role.glob("tasks/*.yml"))))
    declared = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    assert files - parts <= VERBS
    assert set(declared) == files - parts
    for name, spec in declared.items():
        text = yaml.safe_dump([task for file, task in tasks(role) if file == f"{name}.yml"])
        assert set(re.findall(r"dryport_\w+", text)) <= _given(role, spec["options"]), name


def _given(role: Path, options: dict[str, Any]) -> set[str]:
    for name, option in options.items():
        assert option["required"], f"{role.name}: {name} has no value of its own here; the installer gives all"
        assert SECRETS.search(name) is None or option["no_log"], f"{role.name}: {name} is a secret"
    return set(options)


@by_role
def test_every_task_has_an_outcome_as_name_and_a_full_module_name(role: Path):
    for file, task in tasks(role):
        assert task.get("name"), f"{file}: {task}"
        assert all(module.startswith("ansible.builtin.") for module in modules(task)), f"{file}: {task['name']}"


@by_role
def test_no_task_runs_a_shell_but_where_there_is_no_python_yet(role: Path):
    used = {module.removeprefix("ansible.builtin.") for _, task in tasks(role) for module in modules(task)}
    assert not used & ({"shell"} if role.name == "python" else {"shell", "raw", "script"})


@by_role
def test_a_task_that_handles_a_secret_shows_neither_it_nor_a_difference(role: Path):
    for file, task in tasks(role):
        if reads_secrets(role, task):
            assert (task.get("no_log"), task.get("diff")) == (True, False), f"{file}: {task['name']}"


@by_role
def test_a_command_says_itself_whether_it_changed_something(role: Path):
    for file, task in tasks(role):
        if {"ansible.builtin.command", "ansible.builtin.raw"} & set(task):
            is_told = "changed_when" in task or "creates" in task.get("args", {})
            assert is_told, f"{file}: {task['name']}"
