"""One ansible-runner call: one playbook on one host, and what came of it.

* Each call has a fresh private folder (0700) inside the run folder, which lies on tmpfs: what the runner writes there
  (variables with secrets among it) is gone after the call.
* The surroundings are fixed: nothing of the user's Ansible configuration counts, host keys are always checked.
* Ansible is run, never imported.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from installer.hosts.ssh import Ssh
from installer.targets.base import Host
from registry.errors import HostError
from registry.store import durable

Variables = Mapping[str, object]
"""Values for a playbook, as JSON has them; a role's argument_specs say which."""
Clean = Callable[[str], str]
"""Takes the secrets out of a text."""
MESSAGE_CHARACTERS = 2000
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FULL = re.compile(
    r"No space left on device|ENOSPC|(n't|not) have enough free space|(not enough|too little) free (disk )?space",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that ended badly."""

    task: str
    message: str
    is_unreachable: bool = False

    @property
    def is_disk_full(self) -> bool:
        """Whether the host had no room left."""
        return bool(_FULL.search(self.message))


@dataclass(slots=True)
class Outcome:
    """What a call did on its host."""

    ok: int = 0
    changed: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    log: str = ""

    @property
    def is_good(self) -> bool:
        """Whether every task ended well."""
        return not self.failures


@dataclass(frozen=True, slots=True)
class Ansible:
    """How Ansible is run for one site."""

    program: Path
    """The ansible-playbook program."""
    playbooks: Path
    ssh: Ssh
    scratch: Path

    def run(
        self, host: Host, playbook: str, variables: Variables, told: Callable[[str], None], clean: Clean = str
    ) -> Outcome:
        """Run a playbook on one host; `told` hears the name of each task as it begins.

        No word of Ansible's leaves but through `clean`. Raises HostError if Ansible itself did not run.
        """
        import ansible_runner  # noqa: PLC0415 - slow to import, needed by apply alone

        outcome = Outcome()

        def hear(event: Mapping[str, Any]) -> bool:
            _hear(event, outcome, told, clean)
            return True  # else the runner drops the event, and the statistics with it

        private = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            with _signals_restored():
                done = ansible_runner.run(
                    private_data_dir=str(private),
                    project_dir=str(self.playbooks),
                    playbook=playbook,
                    inventory=str(self._inventory(private, host)),
                    extravars=dict(variables),
                    envvars=self._surroundings(private, host),
                    settings={"pexpect_timeout": 1, "suppress_ansible_output": True},
                    event_handler=hear,
                    quiet=True,
                )
            outcome.log = clean(done.stdout.read()) if done.stdout else ""
            _count(done.stats, outcome)
            if done.status == "canceled":
                raise KeyboardInterrupt
            if done.rc != 0 and outcome.is_good:
                raise HostError(
                    "ansible-failed",
                    f"ansible-playbook ended with code {done.rc} and named no task",
                    where=f"{host.name}, {playbook}",
                    seen=outcome.log[-MESSAGE_CHARACTERS:].strip(),
                    hint="this is mostly a fault of the carried playbooks; tell whoever made the bundle",
                )
        finally:
            shutil.rmtree(private, ignore_errors=True)
        return outcome

    def _inventory(self, private: Path, host: Host) -> Path:
        values = {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": str(host.key),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_become": host.user != "root",
        }
        durable.make_folder(private / "inventory", 0o700)
        path = private / "inventory" / "hosts.json"
        durable.create(path, json.dumps({"all": {"hosts": {host.name: values}}}).encode())
        return path

    def _surroundings(self, private: Path, host: Host) -> dict[str, str]:
        configuration = private / "ansible.cfg"
        durable.create(configuration, b"[defaults]\n")
        return {
            "ANSIBLE_CONFIG": str(configuration),
            "ANSIBLE_HOME": str(private / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
            "ANSIBLE_ROLES_PATH": str(self.playbooks / "roles"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_SSH_ARGS": shlex.join(self.ssh.options(host)),
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_RETRY_FILES_ENABLED": "False",
            "ANSIBLE_NOCOLOR": "True",
            "ANSIBLE_FORCE_COLOR": "False",
            "ANSIBLE_NOCOWS": "True",
            "ANSIBLE_DEPRECATION_WARNINGS": "False",
            "ANSIBLE_GATHERING": "explicit",
            "LC_ALL": "C.UTF-8",
            # The runner looks its program up here; named by `binary`, it would leave the playbook out of the command.
            "PATH": f"{self.program.parent}:{SYSTEM_PATH}",
        }


def _hear(event: Mapping[str, Any], outcome: Outcome, told: Callable[[str], None], clean: Clean = str) -> None:
    kind, data = event.get("event"), event.get("event_data") or {}
    if kind == "playbook_on_task_start":
        told(clean(str(data.get("task", ""))))
    elif kind in ("runner_on_failed", "runner_on_unreachable") and not data.get("ignore_errors"):
        # clean before it is cut: half a secret would not be known as one
        said = clean(_message(data.get("res")))[:MESSAGE_CHARACTERS]
        outcome.failures.append(Failure(clean(str(data.get("task", ""))), said, kind == "runner_on_unreachable"))


def _count(stats: Mapping[str, Mapping[str, int]] | None, outcome: Outcome) -> None:
    for name in ("ok", "changed", "skipped"):
        setattr(outcome, name, sum((stats or {}).get(name, {}).values()))


def _message(result: object) -> str:
    """Return what a failed task said, without what Ansible says around it."""
    if not isinstance(result, dict):
        return ""
    if "censored" in result:
        return "the task handles secrets; its output is hidden"
    said = [str(result.get(name) or "").strip() for name in ("msg", "stderr", "stdout", "module_stderr")]
    items = result.get("results") or []
    said.extend(_message(item) for item in items if isinstance(item, dict) and item.get("failed"))
    return "; ".join(dict.fromkeys(one for one in said if one))


@contextmanager
def _signals_restored() -> Iterator[None]:
    """The runner takes over SIGINT and SIGTERM for its cancelling and does not give them back."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for one, handler in before.items():
                signal.signal(one, handler)
