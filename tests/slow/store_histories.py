"""Ten thousand random histories of a store against its model: `python -m tests.slow.store_histories [COUNT [SEED]]`."""

from __future__ import annotations

import sys
import time

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.store_machine import StoreMachine

COUNT = 10_000


def main(count: int = COUNT, number: int = 1) -> int:
    """Run the histories; print how many, or raise with the shortest one that fails."""
    histories = 0

    class Counted(StoreMachine):
        def teardown(self) -> None:
            nonlocal histories
            histories += 1
            super().teardown()

    begun = time.monotonic()
    options = settings(
        max_examples=count,
        stateful_step_count=25,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(Counted), settings=options)
    sys.stdout.write(f"{histories} histories, no violation, {time.monotonic() - begun:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
