"""How hard one registry is worked: how many requests at once, when again after a refusal, how many bytes a second.

* Requests at once follow what the registry bears (additive increase, multiplicative decrease): one more after a window
  of clean answers, half after 429, 503, a timeout or a jump of its latency; reads and writes apart.
* `Retry-After` is waited for exactly, by everybody who asks that registry; without one, pauses grow and are spread.
* Attempts are counted while nothing moves: bytes that went through are credit, so that a long slow line gets there.

>>> pace = Pace()
>>> with pace.reads.place() as place:
...     place.congested()
>>> pace.reads.width
4
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

PROGRESS = 1 << 20
"""Bytes after which an attempt counts as one that helped."""
_BURST_SECONDS = 0.1
_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Widths:
    """Bounds of a window, and what counts as a jump of latency: the median of the last against the best."""

    start: int = 8
    most: int = 16
    jump_factor: float = 4.0
    jump_seconds: float = 0.25


@dataclass
class Window:
    """How many requests of one kind may run at once at one registry. Safe for several threads.

    A thread that has a place already gets further ones at once: it would otherwise wait for itself.
    """

    widths: Widths = field(default_factory=Widths)
    clock: Callable[[], float] = time.monotonic
    width: int = 0
    _era: int = 0
    _clean: int = 0
    _not_before: float = 0.0
    _inside: dict[int, int] = field(default_factory=dict)
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    _best: float = float("inf")
    _free: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.width = min(self.widths.start, self.widths.most)

    def enter(self) -> Place:
        """Return a place in the window; waits until there is one and the registry may be asked again."""
        me = threading.get_ident()
        with self._free:
            while me not in self._inside and len(self._inside) >= self.width:
                self._free.wait()
            self._inside[me] = self._inside.get(me, 0) + 1
            place = Place(self, me, self._era)
        self._wait_until_asked_again()
        return place

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Give a place for a while."""
        place = self.enter()
        try:
            yield place
        finally:
            place.leave()

    def hold(self, seconds: float) -> None:
        """Let nobody ask for so long."""
        with self._free:
            self._not_before = max(self._not_before, self.clock() + seconds)

    def _wait_until_asked_again(self) -> None:
        while (wait := self._not_before - self.clock()) > 0:
            time.sleep(wait)

    def _answered(self, era: int, latency: float | None) -> None:
        with self._free:
            if latency is not None and self._has_jumped(latency):
                self._narrow(era)
                return
            self._clean += 1
            if self._clean >= self.width and self.width < self.widths.most:
                self.width, self._clean = self.width + 1, 0
                self._free.notify()

    def _has_jumped(self, latency: float) -> bool:
        self._best = min(self._best * 1.01, latency)
        self._latencies.append(latency)
        median = sorted(self._latencies)[len(self._latencies) // 2]
        return len(self._latencies) == _SAMPLES and median > max(
            self._best * self.widths.jump_factor, self._best + self.widths.jump_seconds
        )

    def _narrow(self, era: int) -> None:
        if era == self._era:  # what was asked before the last halving tells nothing new
            self.width, self._clean, self._era = max(1, self.width // 2), 0, era + 1
            self._latencies.clear()

    def _congested(self, era: int) -> None:
        with self._free:
            self._narrow(era)

    def _left(self, thread: int) -> None:
        with self._free:
            self._inside[thread] -= 1
            if not self._inside[thread]:
                del self._inside[thread]
                self._free.notify()


@dataclass
class Place:
    """One request's place in a window."""

    _window: Window
    _thread: int
    _era: int
    _is_left: bool = False

    def answered(self, latency: float | None = None) -> None:
        """Tell that the registry answered well, and after how long (for requests that are all alike)."""
        self._window._answered(self._era, latency)  # noqa: SLF001 - one thing in two classes

    def congested(self) -> None:
        """Tell that the registry is asked for too much."""
        self._window._congested(self._era)  # noqa: SLF001

    def leave(self) -> None:
        """Make room for the next; a second time does nothing."""
        if not self._is_left:
            self._is_left = True
            self._window._left(self._thread)  # noqa: SLF001


class Throttle:
    """At most so many bytes a second over all streams that share it."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._due = 0.0
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Wait until the bytes moved so far, and `count` more, are within the rate."""
        with self._lock:
            now = self._clock()
            self._due = max(self._due, now - _BURST_SECONDS) + count / self._rate
            wait = self._due - now
        if wait > 0:
            time.sleep(wait)


@dataclass
class Pace:
    """The paces of one registry."""

    reads: Window = field(default_factory=Window)
    writes: Window = field(default_factory=Window)
    throttle: Throttle | None = None

    def window(self, method: str) -> Window:
        """Return the window for a method."""
        return self.reads if method in {"GET", "HEAD"} else self.writes

    def take(self, count: int) -> None:
        """Wait until so many bytes more may be moved."""
        if self.throttle:
            self.throttle.take(count)

    def hold(self, seconds: float) -> None:
        """Let nobody ask this registry for so long."""
        self.reads.hold(seconds)
        self.writes.hold(seconds)


@dataclass
class Budget:
    """The attempts that one piece of work has while nothing moves."""

    attempts: int
    first_pause: float
    longest_pause: float
    failures: list[str] = field(default_factory=list)
    _reached: int = 0

    def spend(self, why: str, reached: int = 0) -> bool:
        """Count a failure at `reached` bytes; False if there is no further attempt. Progress since the last is credit.

        What lies before the farthest point so far is no progress: a resumption that goes round in circles ends.
        """
        if reached - self._reached >= PROGRESS:
            self.failures.clear()
        self._reached = max(self._reached, reached)
        self.failures.append(why)
        return len(self.failures) <= self.attempts

    def pause(self, retry_after: float | None = None) -> float:
        """Return how long to wait before the next attempt, in seconds."""
        if retry_after is not None:
            return min(retry_after, self.longest_pause)
        most = min(self.longest_pause, self.first_pause * 2 ** (len(self.failures) - 1))
        return random.uniform(0, most)  # noqa: S311 - spreads load, guards nothing


def retry_after(header: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that `Retry-After` asks for (RFC 9110, 10.2.3: a number or a date); None for anything else."""
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now())
    except (ValueError, TypeError, OverflowError):
        return None
