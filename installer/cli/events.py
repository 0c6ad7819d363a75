"""What a server tells while it serves: a line on standard error for each event, as a journal keeps it."""

from __future__ import annotations

import logging

from installer.cli.render import shown


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))  # names in it come from clients


def tell_events() -> None:
    """Let the server's events go to standard error; the time is the journal's to add."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line("%(levelname)s %(name)s: %(message)s"))
    events = logging.getLogger("dryport")
    events.addHandler(handler)
    events.setLevel(logging.INFO)
    events.propagate = False
