"""What clients cost, case by case: the least of all rounds, shown and written down alike by every benchmark of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench.mirrors.run import Cost


@dataclass
class Figures:
    """The least costs by case and client."""

    size: int
    """Bytes of the content, which what is sent and written is told in."""
    found: dict[str, dict[str, Cost]] = field(default_factory=dict)

    def add(self, case: str, client: str, cost: Cost) -> None:
        """Take a round in, and tell it."""
        known = self.found.setdefault(case, {}).get(client, cost)
        self.found[case][client] = known.least(cost)
        print(f"{case:42} {client:8} {self._spelled(cost)}", flush=True)

    def show(self) -> None:
        """Print all cases, each client beside ours."""
        for case, clients in self.found.items():
            print(f"\n{case}")
            ours = clients.get("dryport")
            for name, cost in clients.items():
                beside = f"  {cost.wall / ours.wall:.2f} times as long" if ours and ours is not cost else ""
                print(f"  {name:8} {self._spelled(cost)}{beside}")

    def write(self, path: Path) -> None:
        """Write all as JSON, for the tables of acceptance."""
        cases = {case: {name: asdict(cost) for name, cost in costs.items()} for case, costs in self.found.items()}
        path.write_text(json.dumps({"size": self.size, "cases": cases}, indent=1))

    def _spelled(self, cost: Cost) -> str:
        said = f"{cost.wall:7.2f} s {cost.cpu:7.2f} CPU-s {cost.memory / 1e6:6.0f} MB"
        said += f"  written x{cost.written / self.size:.4f}"
        return said + (f"  sent x{cost.sent / self.size:.4f}" if cost.sent else "")
