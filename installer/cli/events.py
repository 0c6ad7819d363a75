"""What a server tells while it serves: a line on standard error for each event, and a supervisor that it serves."""

from __future__ import annotations

import logging
import os
import socket

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


def tell_supervisor() -> None:
    """Say to a supervisor that waits for it, as systemd does, that the service is up."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place.startswith(("/", "@")):
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.sendto(b"READY=1", "\0" + place[1:] if place.startswith("@") else place)
        except OSError as error:  # it will say itself that it waited in vain
            logging.getLogger("dryport").warning("the supervisor at %s is not told: %s", place, error)
