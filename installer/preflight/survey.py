"""A survey: every preflight on every host, and what it means for going on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from installer.hosts.facts import Facts
from installer.preflight.checks import ACROSS, CHECKS
from installer.preflight.home import HERE
from installer.preflight.question import Finding, Question, Result, peer
from installer.site.config import Site
from installer.targets.base import Host
from registry.errors import DryportError, HostError, SiteError

_WORST_FIRST = (Result.FAIL, Result.UNKNOWN, Result.WARN, Result.PASS)
DISK_FULL = "host-disk-full"


@dataclass(frozen=True, slots=True)
class Survey:
    """What the preflights found, worst first."""

    findings: tuple[Finding, ...]
    errors: tuple[HostError, ...]
    """Hosts that could not be asked at all."""

    @property
    def is_good(self) -> bool:
        """Whether nothing failed and nothing is unknown."""
        return all(finding.result.is_good for finding in self.findings)

    def refusal(self) -> DryportError | None:
        """Return the error that says what to mend, or None if all is good.

        A single trouble keeps its own name (`host-unreachable`, `host-key-changed`, `host-disk-full`).
        """
        bad = [finding for finding in self.findings if not finding.result.is_good and finding.id != "ssh.login"]
        single: list[DryportError] = [*self.errors, *(_as_error(finding) for finding in bad)]
        if len(single) <= 1:
            return single[0] if single else None
        family = HostError if any(isinstance(one, HostError) for one in single) else SiteError
        return family(
            "preflight-failed",
            f"{len(single)} preflight(s) did not pass",
            findings=single,
            hint="mend what is named here, then: dryport site check site.yaml",
        )


def survey(
    site: Site,
    hosts: Sequence[Host],
    facts: Mapping[str, Facts | HostError],
    *,
    platforms: tuple[str, ...] = ("linux/amd64",),
    bundle_bytes: int | None = None,
    own: Sequence[Finding] = (),
) -> Survey:
    """Return the survey of all hosts, from what they told; `own` is what was found on the operator's side."""
    findings: list[Finding] = list(own)
    errors: list[HostError] = []
    questions: list[Question] = []
    registries = {one.name: peer(one, site.registry.port) for one in hosts if one.name in site.registry_hosts}
    for host in hosts:
        told = facts[host.name]
        if isinstance(told, HostError):
            errors.append(told)
            findings.append(Finding("ssh.login", host.name, Result.FAIL, told.message, told.hint))
            continue
        findings.append(Finding("ssh.login", host.name, Result.PASS, f"{host.user} is let in"))
        question = Question(
            host=host,
            facts=told,
            platforms=platforms,
            registry_port=site.registry.port if host.name in site.registry_hosts else None,
            forward_port=site.policy.forward_port,
            bundle_bytes=bundle_bytes,
            clock_skew_seconds=site.policy.clock_skew_seconds,
            registries=registries,
        )
        questions.append(question)
        findings.extend(check(question) for check in CHECKS)
    if questions:
        findings.extend(finding for check in ACROSS for finding in check(questions))
    return Survey(tuple(sorted(findings, key=lambda one: _WORST_FIRST.index(one.result))), tuple(errors))


def _as_error(finding: Finding) -> DryportError:
    is_full = finding.id == "disk.space" and finding.result is Result.FAIL
    reference = DISK_FULL if is_full else f"preflight-{finding.id.replace('.', '-')}"
    family = SiteError if finding.host == HERE else HostError
    return family(
        reference, f"{finding.id} is {finding.result}", where=finding.host, seen=finding.seen, hint=finding.mend
    )
