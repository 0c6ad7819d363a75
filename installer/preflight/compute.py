"""Preflights on what a host is made of: processors and memory."""

from __future__ import annotations

from installer.preflight.question import Finding, Question, Result, judged, mib

ARCHITECTURES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
LEAST_CPUS = 2
LEAST_MEMORY = 1 << 30
LEVEL_2 = frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"})
"""x86-64-v2 as /proc/cpuinfo spells it (x86-64 psABI); hypervisors may hide parts of it."""


def cpu_architecture(question: Question) -> Finding:
    """The bundle's platforms must hold the host's."""
    seen = question.facts.architecture
    wanted = [ARCHITECTURES.get(platform, platform) for platform in question.platforms]
    mend = f"the bundle is for {', '.join(question.platforms)}; bring one for this host"
    return judged("cpu.architecture", question, seen in wanted if seen else None, seen or "", mend)


def cpu_count(question: Question) -> Finding:
    """One processor serves, slowly."""
    count = question.facts.cpus
    good = count >= LEAST_CPUS if count is not None else None
    mend = f"give the host {LEAST_CPUS} processors or more"
    return judged("cpu.count", question, good, f"{count} processor(s)", mend, otherwise=Result.WARN)


def cpu_features(question: Question) -> Finding:
    """Programs of today are built for x86-64-v2; other architectures have no such levels."""
    facts = question.facts
    if facts.architecture is not None and facts.architecture != "x86_64":
        return judged("cpu.features", question, True, f"{facts.architecture}: no levels to look for")
    missing = sorted(LEVEL_2 - facts.cpu_flags) if facts.cpu_flags is not None else None
    seen = f"not there: {', '.join(missing)}" if missing else "x86-64-v2"
    mend = "let the hypervisor show the host processor (CPU mode host-passthrough, or a newer EVC level)"
    return judged("cpu.features", question, not missing if missing is not None else None, seen, mend)


def memory_size(question: Question) -> Finding:
    """The registry and the playbooks want a gigabyte between them."""
    size = question.facts.memory
    good = size >= LEAST_MEMORY * 0.9 if size is not None else None  # the kernel keeps some of it for itself
    mend = f"give the host {mib(LEAST_MEMORY)} of memory or more"
    return judged("memory.size", question, good, mib(size), mend)


CHECKS = (cpu_architecture, cpu_count, cpu_features, memory_size)
