"""Preflights on who a host is: its name, its machine id, its address. Clones of one image often share them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence

from installer.preflight.question import Finding, Question, Result, judged

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, a single label
SITE = "the site"


def hostname_valid(question: Question) -> Finding:
    """A name that DNS and Kubernetes take (RFC 1123)."""
    name = question.facts.hostname
    good = bool(_LABEL.fullmatch(name.partition(".")[0])) if name else None
    mend = "give the host a name of small letters, digits and hyphens: hostnamectl set-hostname NAME"
    return judged("hostname.valid", question, good, name or "", mend)


def address_local(question: Question) -> Finding:
    """The address in site.yaml should be the host's own: behind a translation, hosts reach each other another way."""
    own, wanted = question.facts.addresses, question.host.address
    try:
        ipaddress.ip_address(wanted)
    except ValueError:
        return judged("address.local", question, True, f"{wanted} is a name")
    good = wanted in own if own is not None else None
    seen = f"{wanted} is {'one of' if good else 'none of'} {', '.join(sorted(own or ()))}"
    mend = "name the host's own address in site.yaml, if the other hosts cannot reach it by this one"
    return judged("address.local", question, good, seen, mend, otherwise=Result.WARN)


def hostname_unique(questions: Sequence[Question]) -> Iterator[Finding]:
    """Two hosts of one name take each other's place."""
    mend = "give each host a name of its own: hostnamectl set-hostname NAME"
    yield _unique("hostname.unique", questions, lambda one: one.facts.hostname, mend)


def machine_unique(questions: Sequence[Question]) -> Iterator[Finding]:
    """Two hosts of one machine-id are clones of a machine that was not prepared for cloning (machine-id(5))."""
    mend = "on each clone: rm /etc/machine-id; systemd-machine-id-setup; then reboot it"
    yield _unique("machine.unique", questions, lambda one: one.facts.machine, mend)


def _unique(
    identity: str, questions: Sequence[Question], value: Callable[[Question], str | None], mend: str
) -> Finding:
    said = {one.host.name: value(one) for one in questions}
    if unknown := sorted(name for name, one in said.items() if not one):
        return Finding(identity, SITE, Result.UNKNOWN, f"not told by {', '.join(unknown)}", mend)
    sharing = sorted(name for name, one in said.items() if list(said.values()).count(one) > 1)
    if sharing:
        return Finding(identity, SITE, Result.FAIL, f"the same on {', '.join(sharing)}", mend)
    return Finding(identity, SITE, Result.PASS, f"{len(said)} of {len(said)} differ")


CHECKS = (hostname_valid, address_local)
ACROSS = (hostname_unique, machine_unique)
