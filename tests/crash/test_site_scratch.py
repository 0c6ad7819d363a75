"""The folder with secrets in it, and processes that are killed while they have one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from installer.hosts.scratch import run_folder


def killed_with_a_secret(base: Path) -> None:
    child = os.fork()
    if child == 0:
        with run_folder(base) as folder:
            (folder / "secret").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_run_folder_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with run_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "sub").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    killed_with_a_secret(tmp_path)
    assert len(list(tmp_path.rglob("secret"))) == 1
    with run_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_the_folder_of_a_living_run_and_what_is_not_ours_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "dryport-run-link").symlink_to(tmp_path / "other")
    with run_folder(tmp_path) as first, run_folder(tmp_path) as second:
        assert first.exists()
        assert first != second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dryport-run-link", "other"]
