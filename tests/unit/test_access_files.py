"""The files that say who exists: changed whole, by one at a time, and never another's for a moment."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from installer.cli.main import main
from registry.server.robots import Robots
from registry.server.users import Users
from registry.store import durable
from tests.conftest import need_root
from tests.crash.refusing import refusing

NOBODY = 65534
PROGRAM = "import sys; from installer.cli.main import main; main(sys.argv[1:])"


def run(*words: object) -> int:
    """Run dryport in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode


def run_here(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    assert ended.value.code == 0


def user(folder: Path, name: str) -> tuple[object, ...]:
    words = ("--users", folder / "users", "--certificate", f"cn:{name}", "--grant", "pull:*")
    return ("registry", "user", "add", name, *words)


def robot(folder: Path, name: str) -> tuple[object, ...]:
    words = ("--store", folder, "--grant", "pull:*", "--out", folder / f"{name}.secret")
    return ("registry", "token", "create", name, *words)


@pytest.mark.parametrize("make", [user, robot])
def test_two_who_change_a_file_at_once_lose_nothing_of_each_other(
    tmp_path: Path, make: Callable[[Path, str], tuple[object, ...]]
) -> None:
    names = [f"one{number}" for number in range(6)]
    run_here(*make(tmp_path, "first"))
    with ThreadPoolExecutor(len(names)) as pool:
        assert [*pool.map(lambda name: run(*make(tmp_path, name)), names)] == [0] * len(names)
    assert known(tmp_path, make) == {"first", *names}


def test_of_two_who_make_one_robot_the_first_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    def make(place: str) -> int:
        secret = tmp_path / place / "secret"
        return run("registry", "token", "create", "ci", "--grant", "pull:*", "--out", secret, "--store", tmp_path)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(make, "ab")) == [0, 2]
    (known,) = Robots.load(tmp_path / "access/robots").all()
    (secret,) = tmp_path.glob("?/secret")
    assert known.has_password(secret.read_text().strip())


def test_a_users_file_is_its_owners_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_root()
    users = tmp_path / "users"
    run_here(*user(tmp_path, "first"))
    os.chown(users, NOBODY, NOBODY)
    users.chmod(0o640)
    looks = 0

    def looked(call: Callable[..., Any]) -> Callable[..., Any]:
        def and_look(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the call takes and returns
            nonlocal looks
            done = call(*arguments, **options)
            seen = users.stat()
            assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o777) == (NOBODY, NOBODY, 0o640)
            looks += 1
            return done

        return and_look

    before = os.umask(0o077)
    try:
        for name in ("open", "rename", "fsync"):
            monkeypatch.setattr(os, name, looked(getattr(os, name)))
        run_here(*user(tmp_path, "second"))
    finally:
        os.umask(before)
    assert looks > 3
    assert len(Users.load(users).all()) == 2


def test_what_a_killed_command_left_in_the_access_folder_is_swept(tmp_path: Path) -> None:
    run_here(*robot(tmp_path, "first"))
    left = tmp_path / "access" / f"{durable.TEMPORARY}0123456789abcdef"
    left.write_text("half a file")
    os.utime(left, (0, 0))
    run_here(*robot(tmp_path, "second"))
    assert not left.exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("make", [user, robot])
def test_a_disk_that_refuses_leaves_files_that_can_be_read_and_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path, str], tuple[object, ...]], error: int
) -> None:
    run_here(*make(tmp_path, "first"))
    for last in range(1, 100):
        name = f"new{last}"
        capsys.readouterr()
        with refusing(error, last) as disk, pytest.raises(SystemExit) as ended:
            main([*map(str, make(tmp_path, name)), "--json"])
        if not disk.refused:
            assert ended.value.code == 0
            assert last > 3
            return
        told = capsys.readouterr().out
        assert ended.value.code == 6 or make is robot, told  # the log's line alone may wait for the next one
        assert ended.value.code == 0 or os.strerror(error) in told
        assert not list(tmp_path.rglob(f"{durable.TEMPORARY}*"))
        assert "first" in known(tmp_path, make)
        assert (tmp_path / f"{name}.secret").exists() == (make is robot and ended.value.code == 0)
        if ended.value.code == 6:
            if make is robot and name in known(tmp_path, make):  # its name came, and the folder's sync was refused
                run_here("registry", "token", "revoke", name, "--store", tmp_path)
            run_here(*make(tmp_path, name))
        assert name in known(tmp_path, make)
    pytest.fail("the command never ended")


def known(folder: Path, make: Callable[[Path, str], tuple[object, ...]]) -> set[str]:
    if make is user:
        return {one.name for one in Users.load(folder / "users").all()}
    return {one.name.removeprefix("robot@") for one in Robots.load(folder / "access/robots").all()}
