"""Progress on a terminal: a bar with figures, and below it what is at work, cut at the edge.

Beside the bar a long name would leave no room for the figures; so it has a line of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Self

from rich import progress
from rich.console import Console, RenderableType
from rich.table import Column
from rich.text import Text

from installer.cli.render import amount, shown

WIDTH = 100


class _Display(progress.Progress):
    item = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bar, then the item."""
        yield self.make_tasks_table(self.tasks)
        if self.item:
            yield Text(f"  {self.item}", "dim", no_wrap=True, overflow="ellipsis")


class Bar:
    """One piece of long work on this terminal; several threads may advance it."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        terminal = Console(stderr=True)
        terminal.width = min(terminal.width, WIDTH)
        self._unit, self._total, self._done = unit, total, 0
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._display = _Display(
            progress.TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            progress.BarColumn(bar_width=None),
            progress.TextColumn("{task.fields[state]}", markup=False, table_column=Column(no_wrap=True)),
            progress.TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=terminal,
            expand=True,
        )
        self._task = self._display.add_task(shown(label, kept=""), total=total, state=self._state())

    def advance(self, more: int, item: str) -> None:
        """Show that `more` is done, now at `item`."""
        with self._lock:
            self._done += more
            self._display.item = shown(item, kept="")
            self._display.update(self._task, completed=self._done, state=self._state())

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.item = ""
        self._display.stop()

    def _state(self) -> str:
        if self._unit != "B":
            return f"{self._done} of {amount(self._total, self._unit)}"
        rate = self._done / max(time.monotonic() - self._began, 1e-3)
        return f"{amount(self._done)} of {amount(self._total)}, {amount(int(rate))}/s"
