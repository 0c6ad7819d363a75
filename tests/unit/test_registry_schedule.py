"""Garbage is collected while the registry serves: when it is due, by one process alone, in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import func, select, text, update

from installer.cli.main import main
from registry.oci.digest import Digest
from registry.server.audit import AUDIT, entries
from registry.server.schedule import MOST_SPREAD, Schedule, schedule_of
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.server.workers import Worker
from registry.store.gc import collect, collect_alone
from registry.store.runs import COLLECTION, last, record
from registry.store.schema import holdings, uploads
from registry.store.store import Store
from tests.bench.registries.client import Client
from tests.registry_process import in_time, serving

LOGIN = Client.basic("ann", "pw")
SECONDS = 2.0
CONFIG = f"users: users\nstore: store\ncollect_hours: {SECONDS / 3600}\n"
NEVER = "users: users\nstore: store\ncollect_hours: 0\n"
LONG_AGO = 8 * 86400.0
"""More than lease, grace and an upload's rest."""
DATA = b"nobody names this"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users").write_text(user_line("ann", "pw", ["pull,push,metrics:*"], iterations=100_000) + "\n")
    Store.open(tmp_path / "store").close()
    return tmp_path


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    with Store.open(folder / "store") as store:
        yield store


def garbage(store: Store, data: bytes = DATA) -> Path:
    """Put a blob that nothing names, and that nobody looked at for long."""
    digest = Digest.of(data)
    store.put_blob("team/app", digest, [data])
    path = store.files.path(digest)
    os.utime(path, (time.time() - LONG_AGO,) * 2)
    return path


def dead(store: Store) -> int:
    wanted = select(func.count()).select_from(holdings).where(holdings.c.dead.is_not(None))
    with store.database.reading() as connection:
        return int(connection.execute(wanted).scalar_one())


def age(store: Store) -> None:
    """Let the grace be over, and uploads be forgotten."""
    with store.database.writing() as connection:
        connection.execute(update(holdings).values(dead=holdings.c.dead - LONG_AGO))
        connection.execute(update(uploads).values(touched=uploads.c.touched - LONG_AGO))
    for path in store.files.incoming.iterdir():
        os.utime(path, (time.time() - LONG_AGO,) * 2)


def collections(folder: Path) -> list[dict[str, Any]]:
    return [one for one in entries(folder / "store/access" / AUDIT) if one["event"] == "store.collect"]


def freed(folder: Path) -> int:
    return sum(one["freed"] for one in collections(folder))


def times(folder: Path) -> list[float]:
    return [datetime.fromisoformat(one["time"]).timestamp() for one in collections(folder)]


def test_garbage_and_forgotten_uploads_go_while_the_registry_serves(folder: Path) -> None:
    with serving(folder, CONFIG, workers=3) as registry, opened(folder) as store, Client(registry.port) as client:
        path = garbage(store)
        client.headers = LOGIN
        place = client.ask("POST", "/v2/team/app/blobs/uploads/", b"").headers["location"]
        assert client.ask("PATCH", place, b"begun").status == 202
        in_time(lambda: dead(store) == 1)
        assert path.exists()
        assert len(list(store.files.incoming.glob("[0-9a-f]*"))) == 1
        age(store)
        in_time(lambda: not path.exists())
        in_time(lambda: not list(store.files.incoming.glob("[0-9a-f]*")))
        in_time(lambda: freed(folder) > len(DATA))  # and what the upload took on the disk
        assert any(one["marked"] == len(DATA) for one in collections(folder))
        assert {one["user"] for one in collections(folder)} == {"local:schedule"}
        assert f"INFO dryport.registry.schedule: {freed(folder)} bytes of garbage were freed" in registry.told()
        run = last(store, COLLECTION)
        assert run
        assert time.time() - run.ended < 60
        metrics = client.ask("GET", "/metrics").body.decode()
        assert f"dryport_collected_bytes_total {freed(folder)}\n" in metrics


def test_one_process_of_all_collects_and_never_sooner_than_is_due(folder: Path) -> None:
    with serving(folder, CONFIG, 3, "one"), serving(folder, CONFIG, 3, "two"):
        in_time(lambda: len(times(folder)) >= 5)
    seen = times(folder)
    assert min(late - early for early, late in pairwise(seen)) >= 0.6 * SECONDS, (
        seen
    )  # two schedules would meet in between


def test_a_worker_that_takes_the_first_ones_place_goes_on_collecting(folder: Path) -> None:
    with serving(folder, CONFIG, workers=2) as registry:
        in_time(lambda: len(times(folder)) >= 1)
        for pid in registry.workers():
            os.kill(pid, signal.SIGKILL)
        seen = len(times(folder))
        in_time(lambda: len(times(folder)) > seen)


def test_requests_are_answered_while_a_collection_waits_and_the_server_ends_without_it(folder: Path) -> None:
    with serving(folder, CONFIG) as registry, opened(folder) as store, Client(registry.port, headers=LOGIN) as client:
        path = garbage(store)
        with store.database.writing() as connection:  # as a long write of somebody else: the collection has to wait
            connection.execute(text("UPDATE repositories SET generation = generation"))
            in_time(lambda: is_locked(folder / "store/index.collecting"))
            until = time.monotonic() + 3
            slowest = 0.0
            while time.monotonic() < until:
                begun = time.monotonic()
                assert client.ask("HEAD", f"/v2/team/app/blobs/{Digest.of(DATA)}").status == 200
                slowest = max(slowest, time.monotonic() - begun)
            assert slowest < 2, "the collection held up a request"
            assert is_locked(folder / "store/index.collecting")
            registry.process.terminate()
            assert registry.process.wait(25) == 0
        assert path.exists()
    assert "Traceback" not in registry.told()


def is_locked(path: Path) -> bool:
    """Say whether some process holds a lock on a file."""
    number = f":{path.stat().st_ino} " if path.exists() else "none"
    return any(number in line for line in Path("/proc/locks").read_text().splitlines())


def test_nothing_is_collected_where_it_is_switched_off_or_the_store_is_read_only(folder: Path) -> None:
    with serving(folder, NEVER, name="never"), opened(folder) as store:
        garbage(store)
        (folder / "store/policy.yaml").write_text("read_only: true\n")
        with serving(folder, CONFIG, name="read-only") as registry:
            time.sleep(2 * SECONDS)
            assert dead(store) == 0
            assert "garbage" not in registry.told()
        (folder / "store/policy.yaml").unlink()
        time.sleep(2 * SECONDS)
        assert dead(store) == 0
    assert collections(folder) == []


def test_a_collection_goes_on_where_the_last_server_ended(folder: Path) -> None:
    with opened(folder) as store:
        for number in range(3):
            garbage(store, b"%d" % number)
        collect(store, lease=0)
        age(store)
        steps = iter(range(10))

        def stop() -> None:
            if next(steps) >= 2:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            collect_alone(store, between=stop)
        left = len(list((store.files.blobs / "sha256").iterdir()))
        assert 0 < left < 3
        assert collect(store).removed == left
        assert list((store.files.blobs / "sha256").iterdir()) == []


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("passed", "left"), [(0, 3600), (3599, 1), (3600, 0), (9999, 0), (-5, 0)])
def test_what_is_left_is_told_by_the_last_collection(tmp_path: Path, passed: float, left: float) -> None:
    clock = Clock()
    with Store.open(tmp_path, clock) as store:
        schedule = Schedule(store, 3600.0, lambda _: None)
        assert schedule.left() == 0  # never collected
        record(store, COLLECTION, {"freed": 0})
        clock.now += passed
        assert schedule.left() == left


def test_the_first_time_is_spread_by_chance(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        schedule = Schedule(store, 86400.0, lambda _: None)
        chances = {schedule._chance() for _ in range(100)}
    assert len(chances) > 90
    assert all(MOST_SPREAD / 2 <= one <= MOST_SPREAD for one in chances)


def test_the_first_worker_alone_has_a_schedule(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        kinds = [
            type(schedule_of(Settings(collect_seconds=seconds), there, lambda _: None, worker)).__name__
            for seconds, there, worker in (
                (60.0, store, None),
                (60.0, store, numbered(0)),
                (60.0, store, numbered(1)),
                (60.0, None, None),
                (0.0, store, None),
            )
        ]
    assert kinds == ["Schedule", "Schedule", "nullcontext", "nullcontext", "nullcontext"]


def numbered(number: int) -> Worker:
    return cast("Worker", SimpleNamespace(number=number))


def test_commands_are_noted_in_the_same_log(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(folder, NEVER), opened(folder) as store:
        garbage(store)
        for more in (["--dry-run"], []):
            with pytest.raises(SystemExit) as ended:
                main(["registry", "gc", "--store", str(folder / "store"), "--json", *more])
            assert ended.value.code == 0
        assert json.loads(capsys.readouterr().out.partition("}\n")[2])["marked_blobs"] == 1
    (line,) = collections(folder)
    assert line["user"].startswith("local:")
    assert (line["marked"], line["freed"]) == (len(DATA), 0)
