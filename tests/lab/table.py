"""The table that every acceptance run prints: what, the goal, what was seen, and whether that is enough."""

from __future__ import annotations

from dataclasses import dataclass, field

MET, MISSED, NOT_GIVEN = "met", "MISSED", "not given"


@dataclass
class Table:
    """The promises, one row each."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, what: str, goal: str, seen: str, *, met: bool) -> None:
        """Add a row and show it at once; a long run should not keep its findings to itself."""
        self._add(what, goal, seen, MET if met else MISSED)

    def leave_out(self, what: str, goal: str, reason: str) -> None:
        """Add a row that this machine cannot show."""
        self._add(what, goal, reason, NOT_GIVEN)

    def show(self) -> bool:
        """Print the table and say whether nothing was missed."""
        rows = [("what", "goal", "seen", ""), *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
        return all(row[3] != MISSED for row in self.rows)

    def _add(self, what: str, goal: str, seen: str, verdict: str) -> None:
        self.rows.append((what, goal, seen, verdict))
        print(f"accept: {what}: {seen} ({verdict})", flush=True)
