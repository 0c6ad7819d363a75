"""Preflights on a host's disks: room, files, and how long it takes until written bytes are safe."""

from __future__ import annotations

from installer.preflight.question import Finding, Question, Result, judged, mib

INODES = 20_000
SLOW_MS, TOO_SLOW_MS = 10.0, 150.0
"""Mean of a synced write of 2300 bytes. Above the first a database is slow (etcd wants 10 ms at the 99th percentile),
above the second its writes time out."""


def disk_space(question: Question) -> Finding:
    """The content must fit, and something must be left."""
    free, needed = question.facts.free.get("/var/lib"), question.needed_bytes
    seen = f"{mib(free)} free below /var/lib, {mib(needed)} wanted"
    mend = "make room below /var/lib, or mount a larger disk there"
    return judged("disk.space", question, free >= needed if free is not None else None, seen, mend)


def disk_program_space(question: Question) -> Finding:
    """The program for hosts lies below /opt, two versions of it side by side."""
    free, needed = question.facts.free.get("/opt"), RELEASES_BYTES
    seen = f"{mib(free)} free below /opt, {mib(needed)} wanted"
    mend = "make room below /opt"
    return judged("disk.program-space", question, free >= needed if free is not None else None, seen, mend)


def disk_inodes(question: Question) -> Finding:
    """A file system may be out of files long before it is out of bytes."""
    free = question.facts.inodes.get("/var/lib")
    seen = f"{free} files can still be made below /var/lib, {INODES} wanted"
    mend = "remove small files there, or make the file system with more inodes"
    return judged("disk.inodes", question, free >= INODES if free is not None else None, seen, mend)


def disk_latency(question: Question) -> Finding:
    """Measured on the host: synced writes of the size that a database makes."""
    spent = question.facts.sync_ms
    if spent is None:
        return judged("disk.latency", question, None, "")
    seen = f"{spent:.1f} ms until a write below /var/lib is safe"
    mend = f"put /var/lib on a disk that needs less than {SLOW_MS:.0f} ms"
    worst = Result.WARN if spent <= TOO_SLOW_MS else Result.FAIL
    return judged("disk.latency", question, spent <= SLOW_MS, seen, mend, otherwise=worst)


def folder_no_link(question: Question) -> Finding:
    """A link as data folder points elsewhere after the next mount."""
    linked = question.facts.links
    seen = f"a symbolic link: {', '.join(sorted(linked))}" if linked else "no symbolic link"
    mend = "mount the disk there (a bind mount does) instead of linking to it"
    return judged("folder.no-link", question, not linked if linked is not None else None, seen, mend)


def temporary_usable(question: Question) -> Finding:
    """Steps put their files there for a moment."""
    seen = question.facts.temporary
    good = seen == "writable" if seen else None
    return judged(
        "temporary.usable",
        question,
        good,
        f"the folder for temporary files is {seen}",
        "chmod 1777 $TMPDIR, or the usual one",
    )


RELEASES_BYTES = 1 << 30
CHECKS = (disk_space, disk_program_space, disk_inodes, disk_latency, folder_no_link, temporary_usable)
