"""One registry: connections, TLS, login, retries, redirects, and nothing unbounded.

* TLS is always verified: by the given CA alone, or by the system's where none is given. A proxy is named, never taken
  from the environment. Plain HTTP exists for loopback alone.
* HTTP/1.1 with several connections: one HTTP/2 connection carries a fraction of a fast link (zot #4333).
* Retried, a bounded number of times: broken connections, 408, 425, 429, 500, 502, 503, 504. `Retry-After` is honoured.
* A redirect to another origin, or an upload that lies there, carries no credentials.

>>> transport = Transport("https://registry.example.org:5000", Access(ca=Path("ca.pem")))
>>> transport.request("HEAD", "/v2/team/app/manifests/1.0", scope="repository:team/app:pull", answers={200, 404}).status
200
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from registry.client.access import NOBODY, Access
from registry.client.address import is_loopback, origin_of, redirected, registry_origin
from registry.client.answer import LEFTOVER_BYTES, WHO_ANSWERS, Again, Answer, Reply
from registry.client.credentials import TOKEN_BYTES, Credentials, TokenRequest
from registry.client.pace import Budget, Pace, Place, retry_after
from registry.client.pools import is_about_trust, pools_for
from registry.client.wire import Body, Rules, is_slow
from registry.errors import RemoteError

REDIRECTS = frozenset({301, 302, 303, 307, 308})
KEEPING_REDIRECTS = frozenset({307, 308})  # RFC 9110, 15.4: the others turn a method with a body into GET
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
CONGESTED = frozenset({429, 503})
MISSING = 404
ANSWERS = frozenset({200, 206, MISSING})
REPLY_BYTES = 4 << 20
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one registry may cost."""

    connections: int = 16
    parallel_blobs: int = 2
    attempts: int = 5
    redirects: int = 5
    connect_seconds: float = 10
    read_seconds: float = 60
    commit_seconds: float = 300
    """For the answer to a body: a registry may check gigabytes before it speaks."""
    stall_seconds: float = 30
    stall_bytes: int = 1 << 10
    settle_pause: float = 0.3
    """Between two looks at an upload that broke off."""
    first_pause: float = 0.2
    longest_pause: float = 60


DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    scope: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None


class Transport:
    """Requests to one registry. Safe for several threads."""

    def __init__(self, url: str, access: Access = NOBODY, limits: Limits = DEFAULT, pace: Pace | None = None) -> None:
        self.limits = limits
        self.origin = registry_origin(url)
        self.pace = pace or Pace()
        self.ahead = threading.BoundedSemaphore(limits.parallel_blobs)
        """How many blobs may be read ahead of whoever consumes them; each holds some pieces in memory."""
        self._credentials = Credentials(self.origin, access.login, access.realms)
        host = urlsplit(self.origin).hostname
        rules = Rules(
            home=None if is_loopback(host) else host,
            header_seconds=limits.commit_seconds,
            stall_seconds=limits.stall_seconds,
            stall_bytes=limits.stall_bytes,
            take=self.pace.take,
        )
        self._pools = pools_for(self.origin, access, rules, connections=limits.connections)

    def close(self) -> None:
        """Close all idle connections now: `clear` alone leaves them to the garbage collector."""
        for key in self._pools.pools.keys():  # noqa: SIM118 - the container refuses to be iterated
            pool = self._pools.pools.get(key)
            if pool is not None:
                pool.close()
        self._pools.clear()

    def open(self, path: str, *, scope: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a GET, its body unread: 200, 206 or 404; the caller closes it.

        Raises RemoteError for anything else.
        """
        request = _Request("GET", self.origin + path, scope, headers or {})
        return self._insist(path, lambda: self._attempt(request, ANSWERS))

    def request(
        self,
        method: str,
        target: str,
        *,
        scope: str,
        answers: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        limit: int = REPLY_BYTES,
    ) -> Reply:
        """Return the reply to any method, if its status is one of `answers`. Raises RemoteError for anything else.

        `target` is a path here, or a URL that this registry gave (an upload's, also on another host).
        """
        return self._insist(
            target,
            lambda: self.attempt(method, target, scope=scope, answers=answers, headers=headers, body=body, limit=limit),
        )

    def attempt(
        self,
        method: str,
        target: str,
        *,
        scope: str,
        answers: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        limit: int = REPLY_BYTES,
    ) -> Reply:
        """Do what `request` does once, for callers that know better how to go on; raises Again if that may help."""
        request = _Request(method, urljoin(self.origin, target), scope, headers or {}, body)
        with self._attempt(request, answers) as answer:
            try:
                return Reply(answer.status, answer.headers, answer.whole(limit), answer.url)
            except (HTTPError, OSError) as error:
                raise Again(str(error)) from error

    def document(
        self, path: str, *, scope: str, limit: int, accept: str = "application/json"
    ) -> tuple[bytes, urllib3.HTTPHeaderDict] | None:
        """Return a whole small body and its headers; None stands for 404. Raises RemoteError above `limit` bytes."""
        reply = self.request(
            "GET", path, scope=scope, answers=ANSWERS, headers={"Accept": accept}, limit=max(limit, LEFTOVER_BYTES)
        )
        return None if reply.status == MISSING else (reply.body, reply.headers)

    def reason_missing(self, path: str, *, scope: str) -> bytes:
        """Return what the registry says about something it answers with 404; nothing if it is there."""
        with self.open(path, scope=scope) as answer:
            try:
                return answer.read(LEFTOVER_BYTES) if answer.status == MISSING else b""
            except (HTTPError, OSError):
                return b""

    @property
    def login_seen(self) -> tuple[str, bool | None]:
        """How the registry asked who is there (none, basic, bearer), and whether it gave tokens by POST."""
        return self._credentials.kind, self._credentials.by_post

    def budget(self) -> Budget:
        """Return the attempts that one piece of work has here."""
        return Budget(self.limits.attempts, self.limits.first_pause, self.limits.longest_pause)

    def rest(self, budget: Budget, again: Again, *, reached: int = 0) -> None:
        """Wait before the next attempt. Raises RemoteError if there is none left."""
        if not budget.spend(again.why, reached):
            raise self._given_up(again)
        time.sleep(budget.pause(again.wait))

    def _insist(self, where: str, once: Callable[[], Found]) -> Found:
        budget = self.budget()
        while True:
            try:
                return once()
            except Again as again:
                if not budget.spend(again.why):
                    raise self._given_up(again, where) from again
                time.sleep(budget.pause(again.wait))

    def _attempt(self, request: _Request, answers: Collection[int]) -> Answer:
        """Ask once, and once more with what a 401 asked for."""
        place = self.pace.window(request.method).enter()
        try:
            answer = self._authorized(request, place, answers)
        except BaseException:
            place.leave()
            raise
        answer.place = place
        return answer

    def _authorized(self, request: _Request, place: Place, answers: Collection[int]) -> Answer:
        for turn in range(3):  # unknown, with a token of our scopes, with one of the scopes that the registry names
            sent = self._credentials.header(request.scope)
            answer = self._follow(request, sent, place)
            if answer.status != 401:  # noqa: PLR2004
                break
            header = ", ".join(answer.headers.getlist("WWW-Authenticate"))
            if origin_of(answer.url) != self.origin or not self._credentials.answer(
                header, request.scope, self._ask, sent, is_fresh=turn > 0
            ):
                break
            answer.close()
            if request.body and request.body.size > REPLY_BYTES:
                raise Again("the login was over; there is a new one", wait=0, status=401)
        if answer.status in answers:
            return answer
        if answer.status not in RETRIED:
            raise self._refused(answer, request.method)
        why, wait = self._words(answer), retry_after(answer.headers.get("Retry-After"))
        if answer.status in CONGESTED and wait is not None:
            self.pace.hold(min(wait, self.limits.longest_pause))
        raise Again(why, wait=wait, status=answer.status)

    def _follow(self, request: _Request, authorization: str | None, place: Place) -> Answer:
        url = request.url
        for _ in range(self.limits.redirects + 1):
            sent = dict(request.headers)
            if authorization and origin_of(url) == self.origin:
                sent["Authorization"] = authorization
            answer = self._once(request, url, sent, place)
            followed = KEEPING_REDIRECTS if request.method not in {"GET", "HEAD"} else REDIRECTS
            if answer.status not in followed or not answer.headers.get("Location"):
                return answer
            url = redirected(url, answer.headers["Location"])
            answer.close()
        raise RemoteError(
            "redirects-endless", f"more than {self.limits.redirects} redirects", where=self.origin, hint=WHO_ANSWERS
        )

    def _once(self, request: _Request, url: str, headers: Mapping[str, str], place: Place) -> Answer:
        body = request.body
        has_length = body is not None or request.method in {"POST", "PUT", "PATCH"}
        length = {"Content-Length": str(body.size if body else 0)} if has_length else {}
        seconds = self.limits.commit_seconds if body else self.limits.read_seconds
        began = time.monotonic()
        try:
            response = self._pools.request(
                request.method,
                url,
                body=cast("Iterable[bytes] | None", body),  # of blocks that our own connections know how to send
                headers={**self._pools.headers, **headers, **length},
                timeout=urllib3.Timeout(connect=self.limits.connect_seconds, read=seconds),
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, OSError) as error:
            if is_about_trust(error):
                raise self._untrusted(error) from error
            if is_slow(error):
                place.congested()
            raise Again(str(error)) from error
        if response.status in CONGESTED:
            place.congested()
        elif response.status not in RETRIED:
            place.answered(time.monotonic() - began if not body else None)
        return Answer(response, url)

    def _ask(self, request: TokenRequest) -> tuple[int, bytes]:
        """Get a token, without following redirects."""
        form = {"Content-Type": "application/x-www-form-urlencoded"} if request.form else {}

        def once() -> tuple[int, bytes]:
            try:
                response = self._pools.request(
                    "POST" if request.form else "GET",
                    request.url,
                    body=request.form,
                    headers={**self._pools.headers, **request.headers, **form},
                    redirect=False,
                    preload_content=False,
                )
                with Answer(response, request.url) as answer:
                    if answer.status in RETRIED:
                        wait = retry_after(answer.headers.get("Retry-After"))
                        raise Again(self._words(answer), wait=wait)
                    return answer.status, answer.whole(TOKEN_BYTES)
            except (HTTPError, OSError) as error:
                if is_about_trust(error):
                    raise self._untrusted(error) from error
                raise Again(str(error)) from error

        return self._insist(request.url.partition("?")[0], once)

    def _words(self, answer: Answer) -> str:
        """Return what the registry says itself, cut to what a person reads."""
        try:
            said = answer.read(LEFTOVER_BYTES).decode("utf-8", "replace")
        except (HTTPError, OSError):
            said = ""
        finally:
            answer.close()
        return f"{answer.status} {said.strip()[:300]}".rstrip()

    def _refused(self, answer: Answer, method: str) -> RemoteError:
        where = answer.url.partition("?")[0]
        seen = self._words(answer)
        if answer.status in {401, 403}:
            may = "pull" if method in {"GET", "HEAD"} else "push" if method != "DELETE" else "delete"
            hint = f"check --user and the password file, and what the user may {may}"
            return RemoteError("registry-denied", "the registry denies this", where=where, seen=seen, hint=hint)
        return RemoteError(
            "registry-answer", "the registry gave no usable answer", where=where, seen=seen, hint=WHO_ANSWERS
        )

    def _untrusted(self, error: Exception) -> RemoteError:
        return RemoteError(
            "registry-certificate",
            "the registry's certificate is not vouched for by the given CA, or names another host",
            where=self.origin,
            seen=str(error)[:300],
            hint="give the CA that signed it: --ca FILE",
        )

    def _given_up(self, again: Again, where: str = "") -> RemoteError:
        if again.status is not None:
            where = urljoin(self.origin, where).partition("?")[0]
            return RemoteError(
                "registry-answer", "the registry gave no usable answer", where=where, seen=again.why, hint=WHO_ANSWERS
            )
        return RemoteError(
            "registry-unreachable",
            "the registry does not answer",
            where=self.origin,
            seen=again.why,
            hint="check address, port and that it runs; then the same command again goes on",
        )
