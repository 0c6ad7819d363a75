"""The journal and the steps under it, with processes that really die and files that really end early."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from installer.flows.plan import LOOKING_VERBS, Plan, Step
from installer.flows.steps import Report, execute
from installer.hosts.ansible import Outcome
from installer.site.journal import Entry, Journal
from registry.progress import Silent
from tests.site_samples import sample


def in_child(act: Callable[[], object]) -> int:
    """Run in a process of its own; return the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:  # noqa: BLE001 - nothing of pytest may run in this process
            os._exit(1)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_journal_cut_anywhere_in_its_last_line_is_whole_before_it_and_can_go_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.open(path)
    journal.append("one")
    before = len(path.read_bytes())
    journal.append("two", plan="p", step="s")
    whole = path.read_bytes()
    for length in range(before, len(whole)):
        path.write_bytes(whole[:length])
        again = Journal.open(path)
        assert [entry.event for entry in again.entries] == ["one"]
        again.append("three")
        assert [entry.event for entry in Journal.open(path).entries] == ["one", "three"]


class DyingJournal(Journal):
    """A journal whose process is killed at the n-th entry, before or after it is on the disk."""

    left = 0
    after = False

    def append(self, event: str, *, plan: str = "", step: str = "", **details: str | int | bool) -> Entry:
        self.left -= 1
        if self.left == 0 and not self.after:
            die()
        entry = super().append(event, plan=plan, step=step, **details)
        if self.left == 0:
            die()
        return entry


def work(plan: Plan, home: Path, *, kill_at: int = 0, after: bool = False, inside: bool = False) -> Report:
    """Apply the plan's steps; each leaves a mark in a file. The process may be killed at an entry, or inside a step."""
    journal = DyingJournal.open(home / "journal.jsonl")
    assert isinstance(journal, DyingJournal)
    journal.left, journal.after = (kill_at if not inside else -1), after
    ran = 0

    def run(step: Step, _told: Callable[[str], None]) -> Outcome:
        nonlocal ran
        ran += 1
        with (home / "marks").open("a") as marks:
            marks.write(f"{step.id}\n")
        if inside and ran == kill_at:
            die()
        return Outcome(ok=1, changed=1)

    report = execute(plan, journal, run, Silent(), lambda _: "log")
    journal.append("apply-end", plan=plan.digest)
    return report


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    whole = sample(tmp_path).plan()
    return whole.model_copy(update={"steps": whole.steps[:6]})


@pytest.mark.parametrize(("after", "inside"), [(False, False), (True, False), (False, True)])
def test_killed_at_every_boundary_the_same_plan_goes_on_and_ends(
    tmp_path: Path, plan: Plan, after: bool, inside: bool
) -> None:
    for kill_at in range(1, (6 if inside else 13) + 1):
        home = tmp_path / f"{kill_at}"
        home.mkdir()
        died = in_child(lambda at=kill_at, folder=home: work(plan, folder, kill_at=at, after=after, inside=inside))
        assert died == signal.SIGKILL
        is_finished = Journal.open(home / "journal.jsonl").entries[-1:] and after and kill_at == 13
        report = work(plan, home)
        assert report.steps + report.skipped_steps == len(plan.steps)
        marks = (home / "marks").read_text().split()
        assert set(marks) == {step.id for step in plan.steps}
        again = {step.id for step in plan.steps if step.verb not in LOOKING_VERBS and marks.count(step.id) > 1}
        # only the step in which the kill came may have been done twice; a finished apply is a new run of all
        assert len(again) <= 1 or is_finished


def test_a_step_that_ended_well_is_not_done_again_but_looked_at_again(tmp_path: Path, plan: Plan) -> None:
    in_child(lambda: work(plan, tmp_path, kill_at=11))
    before = (tmp_path / "marks").read_text().split()
    report = work(plan, tmp_path)
    repeated = (tmp_path / "marks").read_text().split()[len(before) :]
    looked = [step.id for step in plan.steps if step.verb in LOOKING_VERBS]
    assert report.skipped_steps == len([one for one in before if one not in looked])
    assert set(looked) <= set(repeated)


def test_a_reader_leaves_a_line_that_is_just_being_written_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal.open(path).append("one")
    with path.open("ab") as writer:
        writer.write(b'{"at":"2026-')
    half = path.read_bytes()
    assert [entry.event for entry in Journal.open(path).entries] == ["one"]
    assert path.read_bytes() == half


def test_an_entry_that_found_no_room_is_cut_off_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.open(path)
    journal.append("one")
    before, limit = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 20, limit[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            journal.append("two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.stat().st_size == before + 20
    journal.append("three")
    assert [entry.event for entry in Journal.open(path).entries] == ["one", "three"]
