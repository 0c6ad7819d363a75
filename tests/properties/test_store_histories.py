"""Some histories of a store; `python -m tests.slow.store_histories` runs ten thousand and more."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.properties.store_machine import StoreMachine

TestStoreHistories = StoreMachine.TestCase
TestStoreHistories.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
