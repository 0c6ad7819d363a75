from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from installer.flows.plan import Plan, Step
from installer.flows.steps import Report, execute
from installer.hosts.ansible import Failure, Outcome, _hear
from installer.site.journal import Journal
from registry.errors import HostError
from registry.progress import Silent
from tests.site_samples import sample


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    whole = sample(tmp_path).plan()
    return whole.model_copy(update={"steps": whole.steps[:4]})


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "journal.jsonl")


def ran(plan: Plan, journal: Journal, *outcomes: Outcome | HostError) -> Report:
    left = iter(outcomes)

    def run(_step: Step, told: Callable[[str], None]) -> Outcome:
        told("a task")
        outcome = next(left)
        if isinstance(outcome, HostError):
            raise outcome
        return outcome

    return execute(plan, journal, run, Silent(), lambda step: f"/logs/{step.id}.log")


def test_every_step_is_journaled_before_and_after_it_ran(plan: Plan, journal: Journal) -> None:
    report = ran(plan, journal, *(Outcome(ok=3, changed=1) for _ in plan.steps))
    assert (report.steps, report.ok, report.changed) == (4, 12, 4)
    told = [(entry.event, entry.step) for entry in journal.entries]
    assert told == [pair for step in plan.steps for pair in (("step-begin", step.id), ("step-end", step.id))]
    assert journal.entries[1].details["tasks_changed"] == 1


@pytest.mark.parametrize(
    ("failure", "reference"),
    [
        (Failure("Kit is there", "checksum differs"), "step-failed"),
        (Failure("Kit is there", "OSError: [Errno 28] No space left on device: '/opt/x'"), "host-disk-full"),
        (Failure("Content", "site error [space-short]: there is too little free space for what"), "host-disk-full"),
        (Failure("Packages", "E: You don't have enough free space in /var/cache/apt/archives/."), "host-disk-full"),
        (Failure("Kit is there", "Connection timed out", is_unreachable=True), "host-unreachable"),
    ],
)
def test_a_failed_task_ends_the_run_under_the_name_of_its_cause(
    plan: Plan, journal: Journal, failure: Failure, reference: str
) -> None:
    with pytest.raises(HostError) as caught:
        ran(plan, journal, Outcome(ok=1), Outcome(ok=1, failures=[failure]))
    error = caught.value
    assert error.reference == reference
    assert failure.task in error.where
    assert error.seen == failure.message
    assert [entry.details.get("ok") for entry in journal.entries if entry.event == "step-end"] == [True, False]
    assert len(journal.entries) == 4


def test_a_failed_step_says_where_the_whole_output_lies(plan: Plan, journal: Journal) -> None:
    with pytest.raises(HostError, match="python precheck failed on n1") as caught:
        ran(plan, journal, Outcome(failures=[Failure("x", "y")]))
    assert f"/logs/{plan.steps[0].id}.log" in caught.value.hint


def test_a_step_that_could_not_be_run_is_journaled_too(plan: Plan, journal: Journal) -> None:
    with pytest.raises(HostError):
        ran(plan, journal, HostError("host-unreachable", "gone"))
    assert journal.entries[-1].details == {"ok": False, "reference": "host-unreachable"}


def test_a_step_that_failed_is_run_again(plan: Plan, journal: Journal) -> None:
    with pytest.raises(HostError):
        ran(plan, journal, Outcome(), Outcome(), Outcome(), Outcome(failures=[Failure("x", "y")]))
    # three of the four are looks or ended well: n1 and n2 look again, n1's install is left out, n2's is repeated
    assert [step.verb for step in plan.steps] == ["precheck", "precheck", "install", "install"]
    report = ran(plan, journal, *(Outcome() for _ in range(3)))
    assert (report.steps, report.skipped_steps) == (3, 1)


def heard(result: dict[str, object], **data: object) -> list[Failure]:
    outcome = Outcome()
    event = {"event": "runner_on_failed", "event_data": {"task": "T", "res": result, **data}}
    _hear(event, outcome, lambda _: None)
    return outcome.failures


def test_what_a_task_said_is_kept_once() -> None:
    assert heard({"msg": "a", "stderr": "b", "stdout": "a"}) == [Failure("T", "a; b")]
    assert heard({"msg": "items", "results": [{"failed": True, "msg": "two"}, {"msg": "fine"}]}) == [
        Failure("T", "items; two")
    ]


def test_a_task_that_handles_secrets_tells_nothing() -> None:
    assert "hidden" in heard({"censored": "x", "msg": "the password"})[0].message


def test_a_failure_that_the_playbook_expects_is_none() -> None:
    assert heard({"msg": "a"}, ignore_errors=True) == []
