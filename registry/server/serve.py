"""Runs the application with uvicorn: in the foreground as a service, or in a background thread for a piece of work.

>>> with Running(Settings(users=path), store, mounts=[]) as server:
...     print(server.url)
"""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Self, cast

import uvicorn

from registry.content import ContentSource
from registry.errors import SiteError
from registry.server.app import Application, application
from registry.server.patience import PatientConnection
from registry.server.schedule import schedule_of
from registry.server.secure import SecureListener
from registry.server.settings import Settings
from registry.server.tls import Certificates
from registry.server.workers import Worker
from registry.store.store import Store

BACKLOG = 2048
START_SECONDS = 30.0
STOP_SECONDS = 10
CERTIFICATE_TICKS = 20  # uvicorn ticks ten times a second
IDLE_SECONDS = 75
"""Longer than clients keep idle connections, so that it is they who close."""


class _Server(uvicorn.Server):
    """uvicorn's server, which ends on SIGTERM and SIGINT and then returns, instead of raising the signal again.

    On SIGHUP it reads certificate, users and policy anew; no connection is disturbed.
    """

    on_ready: Callable[[], None] = staticmethod(lambda: None)
    on_reload: Callable[[], None] = staticmethod(lambda: None)
    certificates: Certificates | None = None
    _is_told_to_reload = False

    async def on_tick(self, counter: int) -> bool:
        is_told, self._is_told_to_reload = self._is_told_to_reload, False
        if self.certificates and (is_told or counter % CERTIFICATE_TICKS == 0):
            self.certificates.refresh(is_told=is_told)
        if is_told:
            self.on_reload()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # With certificates, uvicorn is given no socket: it gets the connections on which TLS stands.
        certificates = self.certificates
        await super().startup([] if certificates else sockets)
        if certificates:
            for one in sockets or ():
                listener = SecureListener(one, lambda: certificates.context, self._connection)
                self.servers.append(cast("asyncio.Server", listener))
        if self.started:
            self.on_ready()

    def _connection(self) -> PatientConnection:
        return PatientConnection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGTERM: self._end, signal.SIGINT: self._end, signal.SIGHUP: self._reload}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.handle_exit(number, frame)

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        self._is_told_to_reload = True


class Running:
    """A server in a background thread, as a context manager."""

    def __init__(self, settings: Settings, store: Store | None, mounts: Sequence[ContentSource] = ()) -> None:
        self._server, self._socket, _ = _prepare(settings, store, mounts)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="registry", daemon=True)
        self.port: int = self._socket.getsockname()[1]
        self.url = url_of(settings, self.port)

    def __enter__(self) -> Self:
        self._thread.start()
        for _ in range(int(START_SECONDS * 100)):
            if self._server.started:
                return self
            self._thread.join(0.01)
            if not self._thread.is_alive():
                break
        self.stop()
        raise SiteError(
            "registry-not-started",
            "the registry's server did not start",
            where=self.url,
            hint="its log says why; then run the same command again",
        )

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; running answers get a moment to finish."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS + 5)
        self._socket.close()


def serve(
    settings: Settings,
    store: Store | None,
    mounts: Sequence[ContentSource] = (),
    on_ready: Callable[[str], None] = lambda _: None,
    *,
    listener: socket.socket | None = None,
    worker: Worker | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then return; `on_ready` is told the URL. Raises SiteError if it cannot listen.

    One `worker` of several is given the `listener` they share.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file; the system's first offer is 1024
    server, listener, app = _prepare(settings, store, mounts, listener, worker)
    url = url_of(settings, listener.getsockname()[1])

    def ready() -> None:
        on_ready(url)
        if worker:
            worker.tell_ready()

    server.on_ready = ready
    with listener, schedule_of(settings, store, app.collected, worker):
        server.run([listener])


def _prepare(
    settings: Settings,
    store: Store | None,
    mounts: Sequence[ContentSource],
    listener: socket.socket | None = None,
    worker: Worker | None = None,
) -> tuple[_Server, socket.socket, Application]:
    certificates = Certificates.of(settings)
    app = application(settings, store, mounts, worker)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=PatientConnection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",  # what a stranger sends that is no HTTP is his business
        access_log=False,
        proxy_headers=False,  # who is asked by which name is told by settings, never by a client's header
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    config.load()
    server = _Server(config)
    server.certificates = certificates
    server.on_reload = app.reload
    return server, listener or listen(settings), app


def url_of(settings: Settings, port: int) -> str:
    """Return the address by which this machine reaches a server that listens on a port."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - a question
    return f"{'https' if settings.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def listen(settings: Settings) -> socket.socket:
    """Return the socket that settings say. Raises SiteError."""
    return listen_at(settings.host, settings.port)


def listen_at(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 lets the system choose. Raises SiteError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SiteError(
            "address-unusable",
            "the registry cannot listen on this address",
            where=f"{host}:{port}",
            seen=str(error),
            hint="end what uses the port, or listen elsewhere",
        ) from error
