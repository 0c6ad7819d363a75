"""Preflights on a host's system: distribution, init, kernel, privilege, and what would be in the way."""

from __future__ import annotations

import re

from installer.preflight.question import Finding, Question, Result, judged

SUPPORTED = {"debian": ("12",)}
LEAST_KERNEL = (5, 10)
_KERNEL = re.compile(r"(\d+)\.(\d+)")


def os_supported(question: Question) -> Finding:
    """Debian 12 is what the carried packages fit."""
    facts = question.facts
    seen = f"{facts.os_id} {facts.os_version}"
    known = facts.os_id is not None and facts.os_version is not None
    good = known and facts.os_version in SUPPORTED.get(facts.os_id or "", ())
    return judged("os.supported", question, good if known else None, seen, "install Debian 12 on the host")


def systemd_running(question: Question) -> Finding:
    """Services are systemd units."""
    seen = question.facts.init
    mend = "boot the host with systemd as its first process"
    return judged("systemd.running", question, seen == "systemd" if seen else None, f"process 1 is {seen}", mend)


def kernel_version(question: Question) -> Finding:
    """Debian 11's kernel and all later ones have what services are confined with."""
    found = _KERNEL.match(question.facts.kernel or "")
    good = (int(found[1]), int(found[2])) >= LEAST_KERNEL if found else None
    mend = f"boot a kernel of {'.'.join(map(str, LEAST_KERNEL))} or later"
    return judged("kernel.version", question, good, question.facts.kernel or "", mend)


def privilege_root(question: Question) -> Finding:
    """Steps act as root: by login, or by sudo without a password."""
    seen = question.facts.privilege
    mend = f"log in as root, or let {question.host.user} use sudo without a password"
    return judged("privilege.root", question, seen in ("root", "sudo") if seen else None, seen or "", mend)


def services_in_the_way(question: Question) -> Finding:
    """What also configures the network or runs containers may undo what a step did, so a person should know."""
    found = question.facts.services
    seen = f"running: {', '.join(sorted(found))}" if found else "none of them"
    mend = "see whether they may stay; a firewall must let the registry's port in"
    return judged(
        "services.in-the-way", question, not found if found is not None else None, seen, mend, otherwise=Result.WARN
    )


def packages_unlocked(question: Question) -> Finding:
    """A package manager that was cut off refuses every later step."""
    broken = question.facts.dpkg_broken
    seen = "half-installed packages" if broken else "nothing half-installed"
    mend = "on the host: dpkg --configure -a"
    return judged("packages.whole", question, not broken if broken is not None else None, seen, mend)


CHECKS = (os_supported, systemd_running, kernel_version, privilege_root, services_in_the_way, packages_unlocked)
