"""Collects garbage while the registry serves: every so often, in a thread of its own, beside all requests.

* Of the processes of one server the first one does it. Two servers of one store, or a command, keep each other out by
  the store's own lock; whoever gets it looks first whether another one has just collected.
* The first time comes a little after the start, by chance a little sooner or later: not every registry that was
  started with this one, nor all that a start has to do, shall meet.
* It ends between two steps when the server ends; a step may be killed.

>>> with Schedule(store, 86400.0, print):
...     server.run()
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from registry.errors import SiteError
from registry.server.settings import Settings
from registry.server.workers import Worker
from registry.store.faults import ReadOnlyError
from registry.store.gc import LOCK, Collected, alone, collect_alone
from registry.store.runs import COLLECTION, last
from registry.store.store import Store

MOST_WAIT = 3600.0
"""A clock that was set is noticed after so many seconds."""
MOST_SPREAD = 600.0
END_SECONDS = 5.0
log = logging.getLogger("dryport.registry.schedule")


class _EndingError(Exception):
    """The server ends."""


class Schedule:
    """The collections of one process, as a context manager."""

    def __init__(self, store: Store, seconds: float, tell: Callable[[Collected], None]) -> None:
        self._store, self._seconds, self._tell = store, seconds, tell
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collect", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(END_SECONDS)

    def left(self) -> float:
        """Return the seconds until the next collection is due, 0 if it is. A clock that was set back makes it due."""
        before = last(self._store, COLLECTION)
        passed = self._store.clock() - before.ended if before else -1.0
        return self._seconds - passed if 0 <= passed < self._seconds else 0.0

    def _run(self) -> None:
        pause = self._chance()
        while not self._ending.wait(pause):
            pause = self._round() + self._chance()

    def _chance(self) -> float:
        spread = min(self._seconds / 10, MOST_SPREAD)
        return random.uniform(spread / 2, spread)  # noqa: S311 - nobody is to be surprised

    def _round(self) -> float:
        """Collect if it is due; return for how long nothing is."""
        try:
            self._collect_if_due()
            return min(self.left(), MOST_WAIT)
        except _EndingError:
            log.info("the server ends; the next collection goes on")
        except ReadOnlyError:
            log.debug("nothing is collected: the store is read-only")
        except (SiteError, OSError) as error:
            log.warning("garbage was not collected: %s", error)
        except Exception:  # the rim of the thread: whatever it is, the registry serves on
            log.exception("garbage was not collected")
        return 0.0

    def _collect_if_due(self) -> None:
        with alone(self._store.folder / LOCK):
            if self.left() > 0:
                return  # another process was first
            done = collect_alone(self._store, between=self._go_on)
        log.info("%d bytes of garbage were freed, %d are marked", done.freed, done.marked_bytes)
        self._tell(done)

    def _go_on(self) -> None:
        if self._ending.is_set():
            raise _EndingError


def schedule_of(
    settings: Settings, store: Store | None, tell: Callable[[Collected], None], worker: Worker | None
) -> AbstractContextManager[object]:
    """Return the collections of this process: none where another one does it, or nobody is to."""
    is_first = worker is None or worker.number == 0
    if store is None or settings.collect_seconds <= 0 or not is_first:
        return nullcontext()
    return Schedule(store, settings.collect_seconds, tell)
