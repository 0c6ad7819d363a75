"""Several processes that serve one socket: one per core, each with its own store, mounts and memory.

* They are forked before anything is opened: no connection to an index, no lock and no thread crosses a fork.
* The first one starts alone; the others follow when it serves, so that what stops the start is told once.
* One that dies is replaced. When the parent ends, for whatever reason, all end.
* SIGHUP is handed on to all of them: whoever serves reads its files anew, and goes on serving.
* They share the socket, the board on which requests are counted, and the table of what was taken of the limits; all
  else they tell each other by the store.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from registry.server.metrics import Board
from registry.server.table import Table

log = logging.getLogger("dryport.registry")
MOST = 8
"""As many as help before a disk or a network is what limits."""
_COLUMNS = 8192
_RESTART_SECONDS = 1.0
_ENDING = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of several: its number, what it shares with the others, and whom it tells that it serves."""

    number: int
    board: Board
    table: Table
    """What all have taken of the limits."""
    tell_ready: Callable[[], None]
    is_spokesman: bool = False
    """Whether it tells a person that all is well; a replacement says nothing."""


def default_count() -> int:
    """Return how many workers this machine has use for."""
    return min(MOST, len(os.sched_getaffinity(0)))


def share(count: int, work: Callable[[Worker | None], None]) -> None:
    """Run `work` in `count` processes until this one is told to end. One process is this one itself.

    Returns in the workers too, when their work ended.

    Raises SystemExit with the first worker's status if that one ends before it serves.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is somebody who knows what to do with it
    if count == 1:
        work(None)
        return
    parent = _Parent(Board(_COLUMNS), Table(is_shared=True))
    worker = parent.fork(0)
    if worker is None and parent.is_first_ready():
        for number in range(1, count):
            if worker is None:
                worker = parent.fork(number)
    if worker is None:
        worker = parent.watch()
    if worker is not None:
        work(worker)


class _Parent:
    """The process that serves nothing itself."""

    def __init__(self, board: Board, table: Table) -> None:
        self._board, self._table = board, table
        self._life, self._own_life = os.pipe()
        self._ready, self._tell = os.pipe()
        self._numbers: dict[int, int] = {}
        self._is_ending = self._is_started = False
        handlers = dict.fromkeys(_ENDING, self._end) | {signal.SIGHUP: self._hand_on}
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}

    def fork(self, number: int) -> Worker | None:
        """Begin a worker; return it in its own process, None in this one."""
        # Whoever is told to end between the fork and its own handlers would take it for the parent's affair, and stay.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._before)
        try:
            process = os.fork()
            if process:
                self._numbers[process] = number
                return None
            for signal_number, handler in self._before.items():
                signal.signal(signal_number, handler)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(self._own_life)
        os.close(self._ready)
        threading.Thread(target=_end_with, args=(self._life,), name="parent", daemon=True).start()
        return Worker(number, self._board, self._table, self._tell_ready, is_spokesman=not self._is_started)

    def _tell_ready(self) -> None:
        os.write(self._tell, b"r")

    def is_first_ready(self) -> bool:
        """Wait for the first worker; False if all is to end before it serves. Raises SystemExit."""
        while not self._is_ending:
            if select.select([self._ready], [], [], 0.05)[0]:
                self._is_started = True
                return True
            process, status = os.waitpid(-1, os.WNOHANG)
            if process:
                raise SystemExit(_code(status))
        return False

    def watch(self) -> Worker | None:
        """Replace who dies, until all ended; returns a worker in its own process."""
        while self._numbers:
            process, status = os.waitpid(-1, 0)
            number = self._numbers.pop(process, None)
            if number is None or self._is_ending:
                continue
            log.error("worker %d ended with %d; another one takes its place", number, _code(status))
            time.sleep(_RESTART_SECONDS)
            if not self._is_ending and (worker := self.fork(number)) is not None:
                return worker
        for signal_number, handler in self._before.items():
            signal.signal(signal_number, handler)
        return None

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._is_ending = True
        self._hand_on(signal.SIGTERM)

    def _hand_on(self, number: int, _frame: FrameType | None = None) -> None:
        for process in self._numbers:
            with suppress(ProcessLookupError):  # it just ended
                os.kill(process, number)


def _end_with(life: int) -> None:
    """End this process when its parent's side of the pipe is gone: the parent was killed, so nobody waits politely.

    At once, since whoever starts the next one waits for the port; what was acknowledged is on the disk already.
    """
    os.read(life, 1)
    os._exit(1)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
