"""How hard a registry is worked: wider after clean answers, half after a refusal, exact about what it asks for."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from registry.client.pace import PROGRESS, Budget, Pace, Throttle, Widths, Window, retry_after


def answers(window: Window, count: int, latency: float | None = None) -> None:
    for _ in range(count):
        with window.place() as place:
            place.answered(latency)


def test_a_window_widens_by_one_after_as_many_clean_answers_as_it_is_wide() -> None:
    window = Window()
    answers(window, 8)
    assert window.width == 9
    answers(window, 8)
    assert window.width == 9
    answers(window, 1)
    assert window.width == 10


def test_a_window_never_passes_its_bound() -> None:
    window = Window(Widths(start=3, most=4))
    answers(window, 100)
    assert window.width == 4
    assert Window(Widths(start=8, most=1)).width == 1


def test_refusals_of_what_was_asked_together_halve_the_window_once() -> None:
    window = Window()
    together = [window.enter() for _ in range(6)]
    for place in together:
        place.congested()
        place.leave()
    assert window.width == 4
    with window.place() as place:
        place.congested()
    assert window.width == 2


def test_a_window_never_closes_and_recovers() -> None:
    window = Window()
    for _ in range(10):
        with window.place() as place:
            place.congested()
    assert window.width == 1
    answers(window, 200)
    assert window.width == 16


def test_a_jump_of_latency_halves_the_window_and_a_slow_registry_does_not() -> None:
    slow = Window()
    answers(slow, 50, 2.0)
    assert slow.width > 8
    window = Window()
    answers(window, 20, 0.01)
    width = window.width
    answers(window, 2, 1.0)
    assert window.width >= width  # two outliers are no jump
    answers(window, 1, 1.0)
    assert window.width == width // 2 or window.width == (width + 1) // 2


def test_small_latencies_vary_without_being_a_jump() -> None:
    window = Window()
    answers(window, 10, 0.001)
    answers(window, 10, 0.05)
    assert window.width > 8


def test_no_more_are_inside_than_the_window_is_wide() -> None:
    window = Window(Widths(start=2, most=2))
    inside, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with window.place():
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.001)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == 2


def test_a_thread_inside_does_not_wait_for_itself() -> None:
    window = Window(Widths(start=1, most=1))
    outer = window.enter()
    inner = window.enter()
    entered = threading.Event()
    other = threading.Thread(target=lambda: (window.enter().leave(), entered.set()))
    other.start()
    outer.leave()
    assert not entered.wait(0.1)
    inner.leave()
    inner.leave()  # a second time does nothing
    assert entered.wait(5)


def test_everybody_waits_as_long_as_the_registry_asked() -> None:
    for window in ("reads", "writes"):
        pace = Pace()
        began = time.monotonic()
        pace.hold(0.3)
        pace.hold(0.1)
        with getattr(pace, window).place():
            assert 0.3 <= time.monotonic() - began < 0.5


def test_a_throttle_keeps_its_rate_over_all_who_share_it() -> None:
    throttle = Throttle(1_000_000)
    began = time.monotonic()
    threads = [threading.Thread(target=lambda: [throttle.take(10_000) for _ in range(10)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began == pytest.approx(0.45, abs=0.15)  # 500 kB, a tenth of a second of it at once


def test_attempts_run_out_where_nothing_moves_and_not_where_it_does() -> None:
    budget = Budget(attempts=3, first_pause=1, longest_pause=60)
    assert [budget.spend("cut", 5) for _ in range(4)] == [True, True, True, False]
    budget = Budget(attempts=3, first_pause=1, longest_pause=60)
    assert all(budget.spend("cut", reached) for reached in range(0, 100 * PROGRESS, PROGRESS))


def test_what_was_reached_before_is_no_progress_again() -> None:
    budget = Budget(attempts=3, first_pause=1, longest_pause=60)
    assert [budget.spend("lost", reached) for reached in (5 * PROGRESS, 0, 4 * PROGRESS, 5 * PROGRESS)][-1] is False


def test_pauses_grow_are_spread_and_end_where_the_registry_says() -> None:
    budget = Budget(attempts=9, first_pause=1, longest_pause=10)
    for most in (1, 2, 4, 8, 10, 10):
        budget.spend("busy")
        pauses = [budget.pause() for _ in range(200)]
        assert max(pauses) <= most
        assert min(pauses) < most * 0.2
        assert max(pauses) > most * 0.8
    assert budget.pause(3.0) == 3.0
    assert budget.pause(0.0) == 0.0
    assert budget.pause(3600.0) == 10


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 17 ", 17.0),
        ("9" * 40, 999_999_999.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("²", None),
        ("Wed, 99 Foo 2026", None),
        ("Wed, 21 Oct 1999 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_a_number(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    header = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert retry_after(header, now.timestamp) == 90
