"""Is the server alive, and can it serve; and the API's front door (end-1)."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from registry.server.context import Call
from registry.server.exchange import Answer

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}


async def alive(call: Call) -> Answer:  # noqa: ARG001
    """Say that the process answers."""
    return Answer(200, dict(_TEXT), b"ok\n")


async def ready(call: Call) -> Answer:
    """Say whether the store answers too."""
    store = call.registry.store
    try:
        is_ready = store is None or await call.registry.threads.keep(store.is_ready)
    except (OSError, SQLAlchemyError):
        is_ready = False
    return Answer(200 if is_ready else 503, dict(_TEXT), b"ok\n" if is_ready else b"the store does not answer\n")


async def metrics(call: Call) -> Answer:
    """Give the server's counters to Prometheus."""
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8", "Cache-Control": "no-store"}
    text = await call.registry.threads.keep(call.registry.watch.metrics.text)
    return Answer(200, headers, text.encode())


async def version(call: Call) -> Answer:  # noqa: ARG001
    """OCI dist-spec: end-1."""
    return Answer(200, {"Content-Type": "application/json"}, b"{}")
