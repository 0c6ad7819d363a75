"""Execution of a plan's steps: journal, act, journal; resumable after a kill at any point.

* `step-begin` is durable before anything is done to a host, `step-end` before the next step begins.
* A resumed run leaves out the steps that ended well, but looks (precheck, check) again; a step whose outcome is
  unknown is repeated, which is safe because steps are idempotent.
* The first step that fails ends the run.

>>> execute(plan, journal, run, told)
Report(ok=41, changed=12, skipped_steps=0, steps=24)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from installer.flows.plan import LOOKING_VERBS, Plan, Step
from installer.hosts.ansible import Failure, Outcome
from installer.site.journal import Journal
from registry.errors import HostError
from registry.progress import Meter, Progress

Run = Callable[[Step, Callable[[str], None]], Outcome]
"""Executes one step on its host; the second argument hears the tasks' names."""


@dataclass(slots=True)
class Report:
    """What an apply did."""

    steps: int = 0
    skipped_steps: int = 0
    ok: int = 0
    changed: int = 0


def execute(plan: Plan, journal: Journal, run: Run, progress: Progress, where_log: Callable[[Step], str]) -> Report:
    """Run the plan's steps. Raises HostError for the first that fails; the journal then says so too."""
    report = Report()
    done = journal.done_steps(plan.digest)
    with progress.meter("apply", len(plan.steps), "steps") as meter:
        for step in plan.steps:
            if step.id in done and step.verb not in LOOKING_VERBS:
                report.skipped_steps += 1
            else:
                outcome = _one(plan, step, journal, run, partial(_tell, meter, step))
                report.steps += 1
                report.ok += outcome.ok
                report.changed += outcome.changed
                if not outcome.is_good:
                    raise failed(step, outcome.failures[0], where_log(step))
            meter.advance(1, step.id)
    return report


def _one(plan: Plan, step: Step, journal: Journal, run: Run, told: Callable[[str], None]) -> Outcome:
    digest = plan.digest
    journal.append("step-begin", plan=digest, step=step.id, role=step.role, verb=step.verb, host=step.host)
    try:
        outcome = run(step, told)
    except HostError as error:
        journal.append("step-end", plan=digest, step=step.id, ok=False, reference=error.reference)
        raise
    journal.append(
        "step-end",
        plan=digest,
        step=step.id,
        ok=outcome.is_good,
        tasks_ok=outcome.ok,
        tasks_changed=outcome.changed,
        tasks_failed=len(outcome.failures),
    )
    return outcome


def failed(step: Step, failure: Failure, log: str) -> HostError:
    """Return the error for a step whose task failed: its own name for the causes that are known."""
    where = f"{step.host}, {step.role} {step.verb}, task {failure.task!r}" if failure.task else step.id
    if failure.is_unreachable:
        return HostError(
            "host-unreachable",
            f"{step.host} could not be reached",
            where=where,
            seen=failure.message,
            hint="see that the host runs and its sshd answers, then apply the same plan again",
        )
    if failure.is_disk_full:
        return HostError(
            "host-disk-full",
            f"{step.host} has no room left",
            where=where,
            seen=failure.message,
            hint="make room on the host, then apply the same plan again: it goes on where it stopped",
        )
    return HostError(
        "step-failed",
        f"{step.role} {step.verb} failed on {step.host}",
        where=where,
        seen=failure.message,
        hint="mend the cause, then apply the same plan again (a new plan runs every step again); "
        f"the full output is in {log}",
    )


def _tell(meter: Meter, step: Step, task: str) -> None:
    meter.advance(0, f"{step.host} {step.role} {step.verb}: {task}")
