"""What is told of every request when it is over: counters for machines, a line of audit for writes and refusals.

A write's line is durable before its answer goes out; a refusal's follows at once, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from registry.server.audit import COLLECT, Audit, open_audit
from registry.server.auth import LoginRefusal
from registry.server.exchange import Answer, Request
from registry.server.metrics import Gauge, Metrics
from registry.server.settings import Settings
from registry.server.threads import Threads
from registry.server.wire import Refusal
from registry.server.workers import Worker
from registry.store.gc import Collected

_DONE = (201, 202)
_NOTED = 255


@dataclass(slots=True)
class Sight:
    """What is known of one request so far."""

    origin: str = ""
    """The address it counts for."""
    route: str = ""
    event: str = ""
    """What a success is called in the audit log; empty for what changes nothing."""
    user: str = ""
    repository: str = ""
    reference: str = ""
    begun: float = field(default_factory=time.monotonic)


def watch_of(settings: Settings, threads: Threads, routes: Sequence[str], worker: Worker | None = None) -> Watch:
    """Return who counts and notes. Raises SiteError."""
    audit = open_audit(settings.access) if settings.access else None
    waiting = Gauge(
        "dryport_audit_waiting", "Lines of audit that are not on disk yet.", lambda: audit.waiting if audit else 0
    )
    metrics = Metrics(routes, [waiting], worker.board if worker else None)
    if worker:
        metrics.work_as(worker.number)
    return Watch(metrics, audit, threads)


class Watch:
    """Counts and notes for one process."""

    def __init__(self, metrics: Metrics, audit: Audit | None, threads: Threads) -> None:
        self.metrics, self.audit = metrics, audit
        self._threads = threads
        self._flushing: set[asyncio.Future[None]] = set()

    async def done(self, sight: Sight, request: Request, answer: Answer) -> None:
        """Note a write that was done; when this returns, its line is durable."""
        # 202 alone is an upload that began: nothing anybody can see yet.
        if sight.event and (answer.status in _DONE and (answer.status != 202 or request.method == "DELETE")):  # noqa: PLR2004
            digest = answer.headers.get("Docker-Content-Digest", "")
            tags = " ".join(request.query.get("tag", []))
            if (
                self._note(sight, sight.event, request, reference=sight.reference, digest=digest, tags=tags)
                and self.audit
            ):
                await self._threads.keep(self.audit.flush)

    def refused(self, sight: Sight, request: Request, refusal: Refusal) -> None:
        """Note who was turned away, if anybody tried to come in."""
        if refusal.status == 429:  # noqa: PLR2004
            self.metrics.add("throttled")
        elif isinstance(refusal, LoginRefusal):
            if not refusal.tried:
                return
            self.metrics.add("logins_failed")
            self._note_soon(sight, "login.refused", request, tried=refusal.tried)
        elif refusal.code == "DENIED":
            self.metrics.add("denied")
            if sight.user:  # strangers fill no log
                self._note_soon(sight, "access.denied", request, reference=sight.reference)

    def over(self, sight: Sight, request: Request, answer: Answer | None) -> None:
        """Count one request that is over; without an answer if the client went away."""
        self.metrics.request(sight.route, answer.status if answer else 0, time.monotonic() - sight.begun)
        self.metrics.add("bytes_received", request.length or 0)
        if answer and request.method != "HEAD":
            body = answer.body
            self.metrics.add("bytes_sent", len(body) if isinstance(body, bytes) else body.end - body.start)

    def collected(self, done: Collected) -> None:
        """Count and note a collection of garbage by this server; when this returns, its line is durable."""
        self.metrics.add("collections")
        self.metrics.add("collected_bytes", done.freed)
        if self.audit:
            self.audit.note(COLLECT, user="local:schedule", freed=done.freed, marked=done.marked_bytes)
            self.metrics.add("audit_lines")
            self.audit.flush()

    def _note(self, sight: Sight, event: str, request: Request, **details: str) -> bool:
        if self.audit is None:
            return False
        about = {"user": sight.user, "address": request.peer, "repository": sight.repository} | details
        if sight.origin and sight.origin != request.peer:
            about["origin"] = sight.origin
        self.audit.note(event, method=request.method, **{name: text[:_NOTED] for name, text in about.items()})
        self.metrics.add("audit_lines")
        return True

    def _note_soon(self, sight: Sight, event: str, request: Request, **details: str) -> None:
        if self._note(sight, event, request, **details) and self.audit and not self._flushing:
            future = self._threads.keep(self.audit.flush)
            self._flushing.add(future)
            future.add_done_callback(self._flushed)

    def _flushed(self, future: asyncio.Future[None]) -> None:
        self._flushing.discard(future)
        if self.audit and self.audit.waiting and not future.cancelled() and not self.audit.is_stuck:
            again = self._threads.keep(self.audit.flush)
            self._flushing.add(again)
            again.add_done_callback(self._flushed)
