"""One blob to one registry: whole where that works, in chunks where it does not, and on from where it broke off.

The ladder (OCI dist-spec end-4 to end-6, end-13, end-14), each rung for a behaviour that exists:
* a blob goes in one PUT; where a registry refuses that (Artifactory: 404) or the line is known to break, in chunks;
* after an interruption the registry is asked how much it has, until that is the same twice: what broke off may still be
  coming in. The upload goes on at the smaller of that and what was sent. A registry that tells nothing usable, or has
  forgotten, gets the blob from its beginning;
* `0-0` stands for one byte and for none: then, too, it begins again, which costs one byte;
* after a chunk was taken, what we sent counts, not what the answer says: ECR's is a chunk behind.

Attempts are counted while nothing moves. The digest is checked here as bytes pass and by the registry at the end.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from registry.client.address import redirected
from registry.client.answer import Again, Reply
from registry.client.outgoing import Outgoing
from registry.client.transport import MISSING, Transport
from registry.client.upload_state import Habits, OnProgress, Resumable, Sent
from registry.errors import DryportError, RemoteError
from registry.oci.descriptor import Descriptor

__all__ = ["Habits", "Resumable", "Sent", "Upload", "reported_offset"]

LEAST_CHUNK, MOST_CHUNK = 1 << 20, 1 << 30
BUSY_SECONDS = 0.5
SETTLING_TURNS = 30
BUSY_TURNS = 3
"""How often a registry may be busy with the rest of a broken request before its session is given up."""
DONE = frozenset({200, 201, 204})
TAKEN = frozenset({200, 201, 202, 204})
LOST = frozenset({404, 410})
UNSUPPORTED = frozenset({404, 405, 411, 413, 415, 501})
OFFSET = "X-Upload-Offset"
"""By which dryport's registry tells what is durable, when no request writes to the upload any more."""
_RANGE = re.compile(r"(?:bytes[ =])?0-(\d{1,19})")


@dataclass
class Upload:
    """One blob on its way to one repository; for one thread."""

    transport: Transport
    repository: str
    descriptor: Descriptor
    outgoing: Outgoing
    habits: Habits
    on_progress: OnProgress
    location: str | None = None
    offset: int = 0
    """Where to go on."""
    sent: int = 0
    """How far this session was sent at most."""
    confirmed: int = 0
    """How far the registry took chunks of this session."""
    farthest: int = 0
    bytes_sent: int = 0
    sessions: int = 0
    interruptions: int = 0
    refusals: int = 0
    """How often in a row the registry wanted another byte than it had said."""
    is_unsure: bool = False
    is_fresh: bool = False
    """Whether the session was begun here, and nothing was sent to it before."""
    may_be_there: bool = False
    """Whether all was sent once: an answer that was lost may have said that all is well."""
    is_resumed: bool = False
    is_whole: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_whole = self.habits.prefers_whole(self.descriptor.size)

    def run(self, begun: Resumable | None = None) -> Sent:
        """Send the blob, on from a session that was begun earlier if it still is. Raises RemoteError or MediaError."""
        if begun:
            self.location, self.sent = begun.location, self.descriptor.size
            self.is_unsure = self.may_be_there = True
        budget = self.transport.budget()
        while True:
            try:
                if self.is_unsure:
                    self._look()
                if self.location is None:
                    if self.may_be_there and self._is_there():
                        return self._result()
                    self._begin()
                self._send()
            except Again as again:
                self.interruptions += 1
                self.transport.rest(budget, again, reached=self.offset)
            except DryportError as error:
                if error.family == "media":
                    self._cancel()
                raise
            else:
                return self._result()

    def _begin(self) -> None:
        """OCI dist-spec: end-4a."""
        reply = self._ask("POST", f"/v2/{self.repository}/blobs/uploads/", {202, MISSING})
        if reply.status == MISSING:
            raise self._refused(reply, "the registry has no such repository, and makes none")
        self._moved(reply)
        least = reply.headers.get("OCI-Chunk-Min-Length", "")
        if least.isascii() and least.isdecimal():
            self.habits.chunk = max(self.habits.chunk, min(int(least[:12]), MOST_CHUNK))
        self.sessions += 1
        self.is_fresh, self.may_be_there = True, False
        self.offset = self.sent = self.confirmed = self.refusals = 0
        self.is_unsure = self.is_resumed = False
        self._tell(0)

    def _send(self) -> None:
        size = self.descriptor.size
        if self.is_whole and not self.offset:
            self._put_whole()
            return
        while self.offset < size:
            self._patch(min(self.offset + self.habits.chunk, size))
        self.outgoing.check()
        self._close()

    def _put_whole(self) -> None:
        """OCI dist-spec: end-6, with all of the blob as its body."""
        if not self.descriptor.size:
            self.outgoing.check()
        is_fresh = self.is_fresh
        reply = self._transfer("PUT", self._closing(), 0, self.descriptor.size, {*DONE, *UNSUPPORTED, 400, 410, 416})
        if reply.status in DONE:
            self._accepted(reply)
            self.habits.monolithic = True
        elif reply.status in LOST and not is_fresh:
            self._gone(reply)
        elif reply.status in UNSUPPORTED:
            if self.habits.chunked is False and reply.status in LOST:
                self._gone(reply)
            if self.habits.chunked is False:
                raise self._refused(reply, "the registry takes the blob neither whole nor in chunks")
            if reply.status != 413:  # noqa: PLR2004 - too large says nothing about smaller ones
                self.habits.monolithic = self.habits.monolithic or False
            self.is_whole = False
            self._forget()
            raise Again(f"not taken whole: {_words(reply)}", status=reply.status)
        else:
            raise self._refused(reply, "the registry refuses the blob")

    def _gone(self, reply: Reply) -> NoReturn:
        self._forget()
        raise Again(f"the upload session is gone: {_words(reply)}", status=reply.status)

    def _patch(self, end: int) -> None:
        """OCI dist-spec: end-5."""
        headers = {"Content-Range": f"{self.offset}-{end - 1}"}
        location = self.location or ""
        reply = self._transfer(
            "PATCH", location, self.offset, end, {*TAKEN, *UNSUPPORTED, 400, 410, 416}, headers=headers
        )
        if reply.status in TAKEN:
            self.offset = self.confirmed = end
            self.refusals, self.is_unsure = 0, False
            self.habits.chunked = True
            if reply.headers.get("Location"):
                self._moved(reply)
            self._tell(0)
        elif reply.status in LOST:
            self._gone(reply)
        elif reply.status == 413 and self.habits.chunk > LEAST_CHUNK:  # noqa: PLR2004
            self.habits.chunk = max(LEAST_CHUNK, self.habits.chunk // 2)
            raise Again(f"too large a chunk: {_words(reply)}", status=reply.status)
        elif reply.status in UNSUPPORTED:
            if self.habits.monolithic is False or self.is_whole:
                raise self._refused(reply, "the registry takes the blob neither whole nor in chunks")
            self.habits.chunked, self.is_whole = False, True
            self._forget()
            raise Again(f"no chunks here: {_words(reply)}", status=reply.status)
        elif reply.status == 400:  # noqa: PLR2004 - distribution, for a session whose offset it does not recognise
            self._cancel()
            raise Again(f"the upload session is unusable: {_words(reply)}", status=reply.status)
        else:
            self._step_over()
            wait = BUSY_SECONDS * self.refusals
            raise Again(f"another byte is expected next: {_words(reply)}", status=reply.status, wait=wait)

    def _close(self) -> None:
        """OCI dist-spec: end-6."""
        reply = self._ask("PUT", self._closing(), {*DONE, *LOST, 400, 416})
        if reply.status in DONE:
            self._accepted(reply)
        elif reply.status in LOST:
            self._gone(reply)
        elif self.is_resumed:  # what was there before may have been something else: once more, from the beginning
            self._cancel()
            raise Again(f"what was resumed is refused: {_words(reply)}", status=reply.status)
        else:
            raise self._refused(reply, "the registry refuses the blob")

    def _look(self) -> None:
        """Ask what the registry has (OCI dist-spec: end-13), and go on there or begin again."""
        if self.location is None:
            self.is_unsure = False
            return
        reply, reported = self._settled(self.location)
        if self.is_whole and self.sent >= LEAST_CHUNK:
            self.habits.keeps_broken = bool(reported)
        if not reported or self.habits.chunked is False:
            self.is_whole = self.is_whole and self.habits.prefers_whole(self.descriptor.size)
            self._cancel()
            return
        if reply.headers.get("Location"):
            self._moved(reply)
        before, self.offset = self.offset, min(reported, self.sent, self.descriptor.size)
        if self.offset != before:
            self.refusals = 0
        self.is_whole, self.is_unsure, self.is_resumed = False, False, True

    def _settled(self, location: str) -> tuple[Reply, int | None]:
        """Return what the registry has, once it says the same twice: what broke off may still be coming in there."""
        before: int | None = -1
        for _ in range(SETTLING_TURNS):
            reply = self._ask("GET", location, {*TAKEN, *UNSUPPORTED, 400, 403, 410, 416})
            reported = reported_offset(reply) if reply.status in TAKEN else None
            is_all = (reported or 0) >= self.sent
            if reported == before or is_all or reply.status not in TAKEN or OFFSET in reply.headers:
                break  # who gives the offset has waited
            before = reported
            time.sleep(self.transport.limits.settle_pause)
        return reply, reported

    def _step_over(self) -> None:
        """After a 416: ask again (what broke off may still be coming in), then believe ourselves, then begin again."""
        self.refusals += 1
        if self.refusals > 1 and self.offset < self.confirmed:
            self.offset, self.is_unsure = self.confirmed, False
        elif self.refusals > BUSY_TURNS:
            self._cancel()

    def _transfer(
        self,
        method: str,
        location: str,
        start: int,
        end: int,
        answers: set[int],
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        self.is_unsure, self.is_fresh = True, False
        body = self.outgoing.part(start, end, self._passing(start))
        headers = {"Content-Type": "application/octet-stream", **(headers or {})}
        scope = f"repository:{self.repository}:pull,push"
        try:
            return self.transport.attempt(method, location, scope=scope, answers=answers, headers=headers, body=body)
        except Again as again:
            self.is_unsure = again.status != 401  # noqa: PLR2004 - who is not let in has left nothing
            raise

    def _passing(self, start: int) -> Callable[[int], None]:
        before = start

        def passing(stop: int) -> None:
            nonlocal before
            self.bytes_sent += stop - before
            before = stop
            self.sent = max(self.sent, stop)
            self.may_be_there |= stop == self.descriptor.size
            more = max(0, stop - self.farthest)
            self.farthest += more
            self._tell(more)

        return passing

    def _tell(self, more: int) -> None:
        if self.location:
            self.on_progress(more, Resumable(self.location, self.offset if not more else self.sent))

    def _is_there(self) -> bool:
        """OCI dist-spec: end-2."""
        reply = self._ask("HEAD", f"/v2/{self.repository}/blobs/{self.descriptor.digest}", {200, *LOST, 405})
        self.may_be_there = False
        return reply.status == 200 and reply.headers.get("Content-Length") == str(self.descriptor.size)  # noqa: PLR2004

    def _result(self) -> Sent:
        return Sent(self.bytes_sent, self.sessions, self.interruptions, self.outgoing.is_proven)

    def _ask(self, method: str, target: str, answers: set[int]) -> Reply:
        scope = f"repository:{self.repository}:pull,push"
        return self.transport.attempt(method, target, scope=scope, answers=answers)

    def _closing(self) -> str:
        location = self.location or ""
        return f"{location}{'&' if '?' in location else '?'}digest={self.descriptor.digest}"

    def _moved(self, reply: Reply) -> None:
        location = reply.headers.get("Location")
        if not location:
            raise self._refused(reply, "the registry does not say where the upload is")
        self.location = redirected(reply.url, location)

    def _forget(self) -> None:
        self.location, self.is_unsure = None, False
        self.offset = self.sent = self.confirmed = 0

    def _cancel(self) -> None:
        """OCI dist-spec: end-14; whether it succeeds is the registry's affair."""
        location = self.location
        self._forget()
        if location:
            try:
                self._ask("DELETE", location, set(range(200, 600)) - {401})
            except (Again, RemoteError):
                return

    def _accepted(self, reply: Reply) -> None:
        stated = reply.headers.get("Docker-Content-Digest")
        digest = self.descriptor.digest
        if stated and stated.startswith(f"{digest.algorithm}:") and stated != str(digest):
            raise RemoteError(
                "target-differs",
                "the registry says that it took other bytes than were sent",
                where=self._where,
                expected=str(digest),
                seen=stated[:150],
                hint="tell whoever runs the registry; dryport mirror probe shows what it keeps as it is",
            )

    @property
    def _where(self) -> str:
        return f"{self.transport.origin}/{self.repository}@{self.descriptor.digest}"

    def _refused(self, reply: Reply, message: str) -> RemoteError:
        hint = "see what the registry says; a project or repository may have to be made there first"
        return RemoteError("upload-refused", message, where=self._where, seen=_words(reply), hint=hint)


def reported_offset(reply: Reply) -> int | None:
    """Return how many bytes the registry says it has; None where that cannot be known."""
    exact = reply.headers.get(OFFSET, "")
    if exact.isascii() and exact.isdecimal():
        return int(exact[:19])
    found = _RANGE.fullmatch(reply.headers.get("Range", "").strip())
    return int(found[1]) + 1 if found and int(found[1]) else None


def _words(reply: Reply) -> str:
    return f"{reply.status} {reply.body.decode('utf-8', 'replace').strip()[:300]}".rstrip()
