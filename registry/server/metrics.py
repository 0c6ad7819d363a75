"""What a server counts, in Prometheus' text form; all workers of one server count on one board of shared memory.

A count costs one addition. Each worker has a row of its own on the board, and whichever worker is asked adds the rows
up. The board is memory without a name: nothing is written to a disk, and it ends with the last worker.
"""

from __future__ import annotations

import mmap
import os
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

STATUSES = (200, 201, 202, 204, 206, 304, 307, 400, 401, 403, 404, 405, 409, 413, 414, 416, 429, 500, 503, 507)
BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
OTHER = 0
"""The status of what has no column of its own."""
WORKERS = 64
_MICROSECONDS = 1_000_000
TOTALS = {
    "bytes_received": "Bytes of request bodies.",
    "bytes_sent": "Bytes of answers.",
    "logins_failed": "Requests with wrong credentials.",
    "denied": "Requests that no grant allowed.",
    "throttled": "Requests refused by a rate limit.",
    "tokens_issued": "Tokens given out.",
    "audit_lines": "Lines given to the audit log.",
    "collections": "Collections of garbage by this server.",
    "collected_bytes": "Bytes that they freed.",
}


class Board:
    """The shared memory: one row of counters for each worker."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        handle = os.memfd_create("dryport-metrics", os.MFD_CLOEXEC)
        try:
            os.ftruncate(handle, WORKERS * columns * 8)
            self._memory = mmap.mmap(handle, WORKERS * columns * 8)
        finally:
            os.close(handle)
        self.cells = memoryview(self._memory).cast("Q")

    def sums(self) -> Sequence[int]:
        """Return each column's sum over all workers."""
        rows = [self.cells[row * self.columns : (row + 1) * self.columns].tolist() for row in range(WORKERS)]
        return [sum(column) for column in zip(*rows, strict=True)]


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something that is asked for when it is read."""

    name: str
    help: str
    read: Callable[[], float]


class Metrics:
    """What one process counts, in its own row of a board that was made before the workers; `work_as` tells which."""

    def __init__(self, routes: Sequence[str], gauges: Sequence[Gauge] = (), board: Board | None = None) -> None:
        self._routes = [*routes, "other"]
        self._gauges = gauges
        self._place = {name: number for number, name in enumerate(self._routes)}
        self._status = {status: number for number, status in enumerate((*STATUSES, OTHER))}
        self._width = len(self._status) + len(BUCKETS) + 2  # and the slowest bucket, and the sum of microseconds
        self._totals = {name: len(self._routes) * self._width + number for number, name in enumerate(TOTALS)}
        needed = len(self._routes) * self._width + len(TOTALS)
        self._board = board or Board(needed)
        if self._board.columns < needed:
            raise ValueError(f"the board has {self._board.columns} columns, {needed} are needed")
        self._row = 0

    def work_as(self, worker: int) -> None:
        """Count in this worker's row from now on."""
        self._row = (worker % WORKERS) * self._board.columns

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request and its answer."""
        cells = self._board.cells
        begin = self._row + self._place.get(route, len(self._routes) - 1) * self._width
        cells[begin + self._status.get(status, len(self._status) - 1)] += 1
        times = begin + len(self._status)
        cells[times + sum(seconds > edge for edge in BUCKETS)] += 1
        cells[times + len(BUCKETS) + 1] += int(seconds * _MICROSECONDS)

    def add(self, total: str, amount: int = 1) -> None:
        """Count something else."""
        self._board.cells[self._row + self._totals[total]] += amount

    def text(self) -> str:
        """Return everything in Prometheus' text form, version 0.0.4."""
        sums = self._board.sums()
        lines = [*self._requests(sums), *self._seconds(sums)]
        for name, help_ in TOTALS.items():
            lines += _head(f"dryport_{name}_total", help_, "counter")
            lines.append(f"dryport_{name}_total {sums[self._totals[name]]}")
        for gauge in (*self._gauges, *PROCESS):
            kind = "counter" if gauge.name.endswith("_total") else "gauge"
            lines += _head(gauge.name, gauge.help, kind)
            lines.append(f"{gauge.name} {gauge.read():.10g}")
        return "\n".join(lines) + "\n"

    def _requests(self, sums: Sequence[int]) -> Iterator[str]:
        yield from _head("dryport_requests_total", "Requests by route and status.", "counter")
        for route, status, column in self._columns():
            if sums[column]:
                labels = _labels({"route": route, "status": str(status or "other")})
                yield f"dryport_requests_total{labels} {sums[column]}"

    def _columns(self) -> Iterator[tuple[str, int, int]]:
        for route, place in self._place.items():
            for status, number in self._status.items():
                yield route, status, place * self._width + number

    def _seconds(self, sums: Sequence[int]) -> Iterator[str]:
        name = "dryport_request_seconds"
        yield from _head(name, "Time from a request's head to the end of its answer.", "histogram")
        for route, place in self._place.items():
            begin = place * self._width + len(self._status)
            counts = sums[begin : begin + len(BUCKETS) + 1]
            if not sum(counts):
                continue
            for number, edge in enumerate((*(f"{edge:g}" for edge in BUCKETS), "+Inf"), 1):
                yield f"{name}_bucket{_labels({'route': route, 'le': edge})} {sum(counts[:number])}"
            yield f"{name}_sum{_labels({'route': route})} {sums[begin + len(BUCKETS) + 1] / _MICROSECONDS:.6f}"
            yield f"{name}_count{_labels({'route': route})} {sum(counts)}"


def _head(name: str, text: str, kind: str) -> Sequence[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _labels(labels: Mapping[str, str]) -> str:
    parts = (
        f'{name}="{text.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"'
        for name, text in labels.items()
    )
    return "{" + ",".join(parts) + "}"


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * float(resource.getpagesize())


PROCESS = (
    Gauge("process_cpu_seconds_total", "CPU time of the worker that answers.", _cpu),
    Gauge("process_resident_memory_bytes", "Memory of the worker that answers.", _memory),
    Gauge("process_open_fds", "Open files of the worker that answers.", lambda: len(os.listdir("/proc/self/fd"))),  # noqa: PTH208
)
