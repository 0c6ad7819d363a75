"""The registry as a plain ASGI application: find the route, ask who it is, check the grant, answer.

Nothing is served before that order is through; what a table row does not grant is denied. No answer tells whether
something exists that the caller may not pull.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus

from registry.content import ContentSource
from registry.errors import DryportError
from registry.oci.reference import repository_name
from registry.server.answers import Answers, Kept
from registry.server.auth import Identity, LoginRefusal, access_of, refusal
from registry.server.context import READ_ONLY, Call, Registry
from registry.server.exchange import (
    Answer,
    DamagedError,
    DisconnectedError,
    Receive,
    Request,
    Scope,
    Send,
    reply,
)
from registry.server.forbidden import refusal_of
from registry.server.limits import Gate, address_of
from registry.server.people import LABELS, People
from registry.server.routes import NAME, ROUTES, Match, Permission, Route, match
from registry.server.settings import Settings
from registry.server.sources import Sources
from registry.server.table import Table
from registry.server.threads import Threads
from registry.server.upstream import origin
from registry.server.watch import Sight, watch_of
from registry.server.wire import Refusal, warning
from registry.server.workers import Worker
from registry.store.faults import PolicyError
from registry.store.gc import Collected
from registry.store.store import Store

log = logging.getLogger("dryport.registry")
AtOnce = Callable[[bytes, Sequence[tuple[bytes, bytes]]], Kept | None]
_SPECIAL = frozenset(
    (b"if-none-match", b"if-match", b"range", b"expect", b"content-length", b"transfer-encoding", b"upgrade", b"cookie")
)
"""Headers whose requests are never answered from memory."""
_LOOSE = frozenset({Permission.NONE, Permission.LOGIN})
MEMORY = "GET from memory"
"""What answers from memory are counted as."""
ALWAYS = {"Docker-Distribution-API-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}
"""What every answer says: what strangers pushed is never taken for a page."""


class Application:
    """One registry: a store, mounted content, or both."""

    def __init__(
        self,
        settings: Settings,
        store: Store | None,
        mounts: Sequence[ContentSource],
        worker: Worker | None = None,
    ) -> None:
        threads, table = Threads(), worker.table if worker else Table()
        sources = Sources([*([store] if store else []), *mounts])
        self._access = access_of(settings, threads, table)
        self._gate = Gate(settings.limits, table)
        self._watch = watch_of(settings, threads, [*(str(route) for route in ROUTES), *LABELS, MEMORY], worker)
        self._registry = Registry(settings, store, sources, threads, self._access, self._watch)
        self._people = People(self._registry, self._gate)
        self._answers = Answers(store.version if store else lambda: 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope["method"], "", {}, {}, receive)
        sight = Sight()
        try:
            request = Request.of(scope, receive)
            answer_it = self._people.answer if People.claims(request.path) else self._answer
            answer = await answer_it(request, sight)
            await self._watch.done(sight, request, answer)
        except DisconnectedError:
            self._watch.over(sight, request, None)
            await reply(request, _too_slow(), send, self._registry.threads)  # heard by nobody who went away
            return
        except Refusal as error:
            self._watch.refused(sight, request, error)
            answer = Answer.of(error)
        except PolicyError as error:
            self._watch.refused(sight, request, refusal_of(error))
            answer = Answer.of(refusal_of(error))
        except Exception as error:  # noqa: BLE001 - the rim of the server: whatever it is, a client gets an answer
            answer = _failed(request, error)
        answer.headers |= ALWAYS
        if _holds_back(request):
            answer.headers["Connection"] = "close"
        try:
            await reply(request, answer, send, self._registry.threads)
        except DamagedError as error:
            answer = _failed(request, error)
            await reply(request, answer, send, self._registry.threads)
        self._watch.over(sight, request, answer)

    def collected(self, done: Collected) -> None:
        """Count and note a collection of garbage that ran beside the requests."""
        self._watch.collected(done)

    def reload(self) -> None:
        """Read users, robots and policy anew; what is wrong with them is told in the log, and lets nobody in."""
        store = self._registry.store
        for read in (self._access.reload, *([store.reload] if store else [])):
            try:
                read()
            except DryportError as error:
                log.error("%s: %s (%s)", error.where, error.message, error.reference)  # noqa: TRY400 - no bug

    def at_once(self, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Kept | None:
        """Return the answer to a GET or HEAD that needs no work at all; None says nothing about what comes of it.

        The order is the same: who asks, then the grant that the route demands, and nothing is told before.
        """
        kept = self._answers.find(target)
        if kept is None or self._gate.asks_address:  # which is not known here
            return None
        given = None
        for name, value in headers:
            if name == b"authorization":
                given = value
            elif name in _SPECIAL:
                return None
        try:
            identity = self._access.recall(given)
        except DryportError:
            return None
        if identity is None or not identity.may(kept.permission, kept.repository):
            return None
        if not self._gate.has(identity.name):
            return None  # the ordinary way tells the refusal
        self._watch.metrics.request(MEMORY, HTTPStatus.OK, 0)
        return kept

    def _keep(self, request: Request, route: Route, repository: str, answer: Answer, version: int) -> None:
        """Keep an answer that is the same for everybody who may ask for it."""
        is_plain = answer.status == HTTPStatus.OK and isinstance(answer.body, bytes) and not answer.repeated
        if is_plain and isinstance(answer.body, bytes):
            self._answers.keep(
                request.target,
                answer.headers | ALWAYS,
                answer.body,
                permission=route.permission.value,
                repository=repository,
                version=version,
            )

    async def _answer(self, request: Request, sight: Sight) -> Answer:
        found = match(request.path)
        if found is None:
            raise Refusal("UNSUPPORTED", "there is no such path", status=404)
        route = found.routes.get(request.method)
        if route is None:
            raise Refusal("UNSUPPORTED", "the method is not allowed", headers={"Allow": ", ".join(found.routes)})
        sight.route, sight.event, sight.reference = str(route), route.event, found.argument
        namespace = request.asked("ns") if route.permission is Permission.PULL else None
        upstream = origin(namespace, found.repository)
        identity = await self._identify(found, route, request, sight, upstream)
        repository = _repository(found)
        is_there = self._registry.sources.has_repository
        if upstream and identity.may_with_another_token("pull", upstream):
            repository = upstream if await self._registry.threads.keep(is_there, upstream) else repository
        sight.repository = repository
        if route.permission not in _LOOSE and not identity.may(route.permission.value, repository):
            raise self._denied(identity, route, repository)
        call = Call(self._registry, request, identity, repository, found.argument)
        if route.permission in (Permission.PUSH, Permission.DELETE):
            _ = call.store  # refused here, whatever the handler looks at first
        version = self._answers.version() if route.is_shared else 0
        answer = await route.handler(call)
        if route.is_shared and not namespace:
            self._keep(request, route, repository, answer, version)
        if namespace and repository == upstream:
            answer.headers["OCI-Namespace"] = namespace
        if request.path == "/v2/" and self._registry.settings.read_only:
            answer.headers |= warning(READ_ONLY)
        if request.path == "/v2/" and self._access.is_open:
            answer.headers |= self._access.challenge()  # so that a client that wants to push knows how to log in
        return answer

    async def _identify(
        self, found: Match, route: Route, request: Request, sight: Sight, upstream: str | None
    ) -> Identity:
        sight.origin = address_of(request.peer, request.headers.get("x-forwarded-for"), self._registry.settings.limits)
        self._gate.admit_address(sight.origin)
        if route.permission is Permission.NONE:
            return Identity("", ())
        try:
            identity = await self._access.identify(request.headers, request.certificate, sight.origin)
        except LoginRefusal as error:
            if request.path.startswith("/v2/"):
                scopes = [route.scope(name) for name in (found.repository, upstream) if name is not None]
                error.headers |= self._access.challenge(" ".join(scopes))
            raise
        sight.user = identity.name
        self._gate.admit_identity(identity.name)
        return identity

    def _denied(self, identity: Identity, route: Route, repository: str) -> Refusal:
        """Return the refusal of what no grant allows: whether it exists is no part of it."""
        may_ask = identity.narrowed is not None and identity.may_with_another_token(route.permission.value, repository)
        if identity.name and not may_ask:
            return Refusal("DENIED", "this is not allowed")
        found = refusal("credentials are required" if not may_ask else "the token is for something else")
        if repository:
            found.headers |= self._access.challenge(route.scope(repository), "insufficient_scope" if may_ask else "")
        return found


def _repository(found: Match) -> str:
    """Return the repository's name. Raises Refusal for what is none: encoded, dotted, empty, too long."""
    if not found.repository and NAME not in next(iter(found.routes.values())).path:
        return ""
    try:
        return repository_name(found.repository)
    except ValueError as error:
        raise Refusal("NAME_INVALID", "this is not a repository's name") from error


def _too_slow() -> Answer:
    """Return what is told whoever is still there; what else comes is not the next request."""
    return Answer.of(
        Refusal("UNSUPPORTED", "the body did not come in time", status=408, headers={"Connection": "close"})
    )


def _holds_back(request: Request) -> bool:
    """Say whether a client still waits to be asked for its body: whether it sends it after an answer is not known.

    What follows could be the body or the next request, and another reader could judge otherwise (RFC 9110, 10.1.1).
    """
    cycle = request.lane.cycle if request.lane else None
    return cycle is not None and cycle.waiting_for_100_continue


def _failed(request: Request, error: Exception) -> Answer:
    """Return the answer to what is the server's fault; the log alone says what it was."""
    log.error("%s %s failed", request.method, request.path[:300], exc_info=error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Answer.of(Refusal("UNSUPPORTED", "the registry's disk is full", status=507))
    return Answer.of(Refusal("UNSUPPORTED", "the registry failed; its log says why", status=500))


def application(
    settings: Settings, store: Store | None, mounts: Sequence[ContentSource], worker: Worker | None = None
) -> Application:
    """Return the registry's ASGI application. Raises SiteError if the users file cannot be read."""
    return Application(settings, store, mounts, worker)
