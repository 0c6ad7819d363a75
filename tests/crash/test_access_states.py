"""Every state in which a power cut can leave the files that say who may come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.cli.main import main
from registry.errors import SiteError
from registry.server.accounts import KEY, ROBOTS, VOID, prepare, read_void
from registry.server.audit import AUDIT, entries
from registry.server.robots import Robots
from registry.server.tokens import Issuer
from registry.server.users import Users
from tests.crash.powercut import judged
from tests.crash.tape import recorded


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    assert ended.value.code == 0


def test_a_change_of_the_users_that_is_cut_off_is_made_or_not(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    users = disk / "users"

    def add(name: str) -> None:
        run("registry", "user", "add", name, "--users", users, "--certificate", f"cn:{name}", "--grant", "pull:*")

    with recorded(disk) as tape:
        add("first")
        tape.say("first")
        add("second")
        tape.say("second")
        run("registry", "user", "remove", "first", "--users", users)
        tape.say("removed")

    def judge(place: Path, said: frozenset[str]) -> None:
        if not (place / "users").exists():
            assert not said
            with pytest.raises(SiteError, match="cannot be read"):
                Users.load(place / "users")
            return
        known = {one.name for one in Users.load(place / "users").all()}
        assert known in ({"first"}, {"first", "second"}, {"second"})
        assert "second" in known or "second" not in said
        assert "first" in known or "second" in said
        assert "first" not in known or "removed" not in said

    assert judged(tape, judge) > 10


def test_robots_and_what_is_void_are_changed_or_not_and_told_once_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    place = ("--access", disk / "access")
    with recorded(disk) as tape:
        run("registry", "token", "create", "ci", "--grant", "pull:*", "--out", tmp_path / "secret", *place)
        tape.say("token.create")
        run("registry", "token", "void", "deploy", *place)
        tape.say("token.void")
        run("registry", "token", "revoke", "ci", *place)
        tape.say("token.revoke")
    capsys.readouterr()
    word = (tmp_path / "secret").read_text().strip()

    def judge(place: Path, said: frozenset[str]) -> None:
        folder = place / "access"
        robots = Robots.load(folder / ROBOTS)
        ours = robots.find("robot@ci")
        assert ours is None or ours.has_password(word)
        assert ours or "token.create" not in said or "token.void" in said
        assert not (ours and "token.revoke" in said)
        assert "deploy" in read_void(folder / VOID) or "token.void" not in said
        assert said <= {str(entry["event"]) for entry in entries(folder / AUDIT)}
        if (folder / KEY).exists():
            Issuer.from_pem((folder / KEY).read_bytes(), "service")
        else:
            assert not said
        prepare(folder)
        Issuer.from_pem((folder / KEY).read_bytes(), "service")

    assert judged(tape, judge, ("durable.make_folder", "durable.create: sync_folder")) > 30
