"""Users, grants and the hash of a password."""

from __future__ import annotations

import pytest

from registry.errors import SiteError, UsageError
from registry.server.users import Grant, Users, user_line


@pytest.mark.parametrize(
    ("grant", "action", "repository", "expected"),
    [
        ("pull:*", "pull", "any/thing", True),
        ("pull:*", "push", "any/thing", False),
        ("push:*", "pull", "any/thing", False),
        ("pull,push:team/*", "push", "team/a/b", True),
        ("pull:team/*", "pull", "team", False),
        ("pull:team/*", "pull", "teams/a", False),
        ("pull:team/app", "pull", "team/app", True),
        ("pull:team/app", "pull", "team/app2", False),
        ("pull:*/app", "pull", "a/b/app", True),
        ("pull:a.b/c", "pull", "axb/c", False),
        ("delete:team/*-test", "delete", "team/x-test", True),
    ],
)
def test_a_grant_allows_its_actions_on_what_its_glob_matches(
    grant: str, action: str, repository: str, expected: bool
) -> None:
    assert Grant.parse(grant).allows(action, repository) is expected


@pytest.mark.parametrize(
    "text", ["", "pull", "pull:", "root:*", "pull push:*", "pull:a b", "pull:A", "pull:*\n", "*:*"]
)
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a grant"):
        Grant.parse(text)


def test_a_line_lets_in_whom_it_was_made_for() -> None:
    user = Users.parse("# who may\n\n" + user_line("deploy", "päss:word", ["pull:*", "push,delete:team/*"])).find(
        "deploy"
    )
    assert user is not None
    assert user.has_password("päss:word")
    assert not user.has_password("päss:wor")
    assert [str(grant) for grant in user.grants] == ["pull:*", "delete,push:team/*"]
    assert "pbkdf2" not in repr(user)


def test_two_lines_of_one_password_differ() -> None:
    assert user_line("a", "x", [], iterations=100_000) != user_line("a", "x", [], iterations=100_000)


def test_nobody_has_no_password() -> None:
    for users in (Users(()), Users.parse(user_line("me", "pw", [], iterations=100_000))):
        assert not any(users.nobody(name).has_password(password) for name in ("", "me") for password in ("", "pw"))


@pytest.mark.parametrize(
    ("name", "password", "grants", "reference"),
    [
        ("a:b", "x", [], "user-name-invalid"),
        ("", "x", [], "user-name-invalid"),
        ("a\nb", "x", [], "user-name-invalid"),
        ("a", "", [], "password-empty"),
        ("a", "x", ["root:*"], "grant-invalid"),
    ],
)
def test_what_cannot_be_a_user_is_refused(name: str, password: str, grants: list[str], reference: str) -> None:
    with pytest.raises(UsageError) as caught:
        user_line(name, password, grants)
    assert caught.value.reference == reference


@pytest.mark.parametrize(
    "line",
    [
        "name",
        "name:password:pull:*",
        "name:$2y$05$bcrypt:pull:*",
        "name:pbkdf2-sha256$1$AAAA$AAAA:pull:*",
        "name:pbkdf2-sha256$99999999$AAAA$AAAA:pull:*",
        "name:pbkdf2-sha256$600000$AAAA$AAAA:everything",
    ],
)
def test_a_line_that_cannot_be_read_names_its_place(line: str) -> None:
    with pytest.raises(SiteError) as caught:
        Users.parse(f"# first\n{line}\n", "users.txt")
    assert (caught.value.reference, caught.value.where) == ("users-invalid", "users.txt line 2")
