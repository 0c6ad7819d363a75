"""Passwords are hashed once for many requests, off the event loop, and forgotten when the file changes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

from registry.server import passwords
from registry.server.auth import Access, Identity
from registry.server.limits import Buckets, Rate
from registry.server.threads import Threads
from registry.server.users import user_line
from registry.server.wire import Refusal

RIGHT = dict(urllib3.make_headers(basic_auth="me:right"))
WRONG = dict(urllib3.make_headers(basic_auth="me:wrong"))
UNKNOWN = dict(urllib3.make_headers(basic_auth="you:right"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.write_text(user_line("me", "right", ["pull:*"], iterations=100_000))
    return file


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were really hashed."""
    seen: list[str] = []
    check: Callable[[str, str], bool] = passwords.is_password

    def counted(line: str, password: str) -> bool:
        seen.append(password)
        return check(line, password)

    monkeypatch.setattr(passwords, "is_password", counted)
    return seen


async def refused(access: Access, headers: dict[str, str], origin: str = "") -> int:
    try:
        await access.identify(headers, (), origin)
    except Refusal as refusal:
        return refusal.status
    return 200


def test_many_first_requests_hash_once(path: Path, hashed: list[str]) -> None:
    async def many() -> list[Identity]:
        access = Access(path, Threads())
        return await asyncio.gather(*(access.identify(RIGHT) for _ in range(20)))

    assert {identity.name for identity in asyncio.run(many())} == {"me"}
    assert hashed == ["right"]


def test_two_users_with_one_password_are_hashed_apart_whether_they_exist_or_not(path: Path, hashed: list[str]) -> None:
    path.write_text("".join(user_line(name, "right", [], iterations=100_000) + "\n" for name in ("me", "us")))

    async def together(*names: str) -> int:
        access, begun = Access(path, Threads()), len(hashed)
        given = [dict(urllib3.make_headers(basic_auth=f"{name}:same")) for name in names]
        assert await asyncio.gather(*(refused(access, one) for one in given)) == [401, 401]
        return len(hashed) - begun

    assert asyncio.run(together("me", "us")) == 2
    assert asyncio.run(together("nobody", "noone")) == 2  # else two names tell by their time whether they are known


def test_many_tries_of_one_password_at_once_are_one_try(path: Path) -> None:
    async def many(password: str) -> list[Counter[int]]:
        access = Access(path, Threads(), failures=Buckets(Rate(per_second=0.001, burst=3)))
        given = [dict(urllib3.make_headers(basic_auth=f"me:{password}"))] * 20
        other = [dict(urllib3.make_headers(basic_auth=f"me:{number}")) for number in range(4)]
        return [await answers(access, *given), await answers(access, *other)]

    async def answers(access: Access, *given: dict[str, str]) -> Counter[int]:
        return Counter(await asyncio.gather(*(refused(access, one, "192.0.2.1") for one in given)))

    assert asyncio.run(many("right")) == [{200: 20}, {401: 3, 429: 1}]
    assert asyncio.run(many("wrong")) == [{401: 20}, {401: 2, 429: 2}]


def test_a_right_password_is_remembered_and_a_wrong_one_is_not(path: Path, hashed: list[str]) -> None:
    async def turns() -> list[int]:
        access = Access(path, Threads())
        return [await refused(access, headers) for headers in (RIGHT, WRONG, RIGHT, WRONG, UNKNOWN, RIGHT)]

    assert asyncio.run(turns()) == [200, 401, 200, 401, 401, 200]
    assert hashed == ["right", "wrong", "wrong", "right"]  # the last one: an unknown user costs as much


def test_a_new_password_counts_at_once_and_the_old_one_no_more(path: Path) -> None:
    def change() -> None:
        path.write_text(user_line("me", "changed", ["pull:*"], iterations=100_000) + "\n")

    async def turns() -> list[int]:
        access = Access(path, Threads())
        before = await refused(access, RIGHT)
        change()
        changed = dict(urllib3.make_headers(basic_auth="me:changed"))
        return [before, await refused(access, RIGHT), await refused(access, changed)]

    assert asyncio.run(turns()) == [200, 401, 200]


def test_while_passwords_are_hashed_the_loop_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_line: str, _password: str) -> bool:
        time.sleep(0.5)
        return True

    monkeypatch.setattr(passwords, "is_password", slow)

    async def beats() -> int:
        access = Access(path, Threads())
        task = asyncio.create_task(access.identify(RIGHT))
        count = 0
        while not task.done():
            await asyncio.sleep(0.01)
            count += 1
        return count

    assert asyncio.run(beats()) > 10
