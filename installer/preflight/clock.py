"""Preflights on clocks: certificates and signatures are dated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from installer.preflight.question import Finding, Question, Result, judged

BETWEEN_HOSTS = 30.0
"""Seconds by which two hosts may differ; more, and tokens of one are not valid yet at the other."""
SITE = "the site"


def time_skew(question: Question) -> Finding:
    """A host against the machine that installs it."""
    skew = question.facts.skew
    good = abs(skew) <= question.clock_skew_seconds if skew is not None else None
    seen = f"{skew:+.0f} s against this machine, at most {question.clock_skew_seconds} s" if skew is not None else ""
    return judged("time.skew", question, good, seen, "set the host's clock, and let NTP keep it")


def time_synchronised(question: Question) -> Finding:
    """A clock that nobody keeps will drift out of what certificates bear."""
    kept = question.facts.synchronised
    seen = "kept by NTP or PTP" if kept else "nobody keeps this clock"
    mend = "let the host use the site's time server (systemd-timesyncd, chrony)"
    return judged("time.synchronised", question, kept, seen, mend, otherwise=Result.WARN)


def time_between_hosts(questions: Sequence[Question]) -> Iterator[Finding]:
    """All hosts among themselves; two may each be near enough to us and too far from each other."""
    skews = {one.host.name: one.facts.skew for one in questions if one.facts.skew is not None}
    if len(questions) < 2:  # noqa: PLR2004 - a pair
        return
    if len(skews) < len(questions):
        yield Finding("time.between-hosts", SITE, Result.UNKNOWN, "a host did not tell", "see time.skew")
        return
    slow, fast = min(skews, key=lambda name: skews[name]), max(skews, key=lambda name: skews[name])
    gap = skews[fast] - skews[slow]
    seen = f"{fast} is {gap:.0f} s ahead of {slow}, at most {BETWEEN_HOSTS:.0f} s"
    good = gap <= BETWEEN_HOSTS
    mend = "" if good else "set both clocks by the same time server"
    yield Finding("time.between-hosts", SITE, Result.PASS if good else Result.FAIL, seen, mend)


CHECKS = (time_skew, time_synchronised)
ACROSS = (time_between_hosts,)
