"""Who may do what: one line per user, `name:hash:grant grant ...`; what no grant allows is denied.

A grant is `actions:glob`, actions separated by commas; in the glob `*` stands for any run of characters, slashes too.
* `pull`, `push`, `delete` on repositories; none implies another, but `push` implies `create`;
* `create` adds content and new tags, and never moves a tag that is there;
* `metrics` and `admin` are the whole server's: their glob is `*`.
In place of a hash, `certificate$...` lets in whoever holds the client certificate of that name. The name `anonymous`
with the hash `-` says what anybody may do without credentials.

>>> line = user_line("deploy", password, ["pull:*", "push,delete:team/*"])
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import SiteError, UsageError
from registry.oci.glob import glob
from registry.server import passwords
from registry.server.passwords import ITERATIONS

SERVER_ACTIONS = frozenset({"metrics", "admin"})
ACTIONS = frozenset({"pull", "create", "push", "delete"}) | SERVER_ACTIONS
ANONYMOUS, ROBOT = "anonymous", "robot@"
GRANT_FORM = f"actions ({', '.join(sorted(ACTIONS))}), a colon, and the repositories: 'pull,push:team/*'"
CERTIFICATE = "certificate$"
CERTIFICATE_KINDS = ("sha256", "uri", "email", "dns", "cn")
"""How a certificate may be named, the most exact first."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_GLOB = re.compile(r"[a-z0-9._/*-]{1,255}")
_CERTIFICATE_NAME = re.compile(rf"(?:{'|'.join(CERTIFICATE_KINDS)}):[^\s]{{1,255}}")


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions on the repositories that a glob matches."""

    actions: frozenset[str]
    glob: str
    _pattern: re.Pattern[str] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Grant:
        """Return the grant that `pull,push:team/*` spells. Raises ValueError."""
        names, _, repositories = text.partition(":")
        actions = frozenset(names.split(","))
        if not actions <= ACTIONS or not _GLOB.fullmatch(repositories):
            raise ValueError(f"not a grant: {text[:100]!r}; write for example pull:* or pull,push:team/*")
        if actions & SERVER_ACTIONS and repositories != "*":
            raise ValueError(f"not a grant: {text[:100]!r}; {', '.join(sorted(SERVER_ACTIONS))} go with * alone")
        return cls(actions, repositories, glob(repositories))

    def allows(self, action: str, repository: str) -> bool:
        """Say whether this grant allows it."""
        has_action = action in self.actions or (action == "create" and "push" in self.actions)
        return has_action and self._pattern.fullmatch(repository) is not None

    def __str__(self) -> str:
        return f"{','.join(sorted(self.actions))}:{self.glob}"


@dataclass(frozen=True, slots=True)
class User:
    """A name, the hash of its password (or the name of its certificate), and its grants."""

    name: str
    hash: str = field(repr=False)
    grants: tuple[Grant, ...]

    @property
    def is_known_by_certificate(self) -> bool:
        """Whether no password lets this user in, but a certificate."""
        return self.hash.startswith(CERTIFICATE)

    @property
    def mark(self) -> str:
        """What changes with the password: tokens given out before die with it."""
        return hashlib.sha256(f"{self.name}\0{self.hash}".encode()).hexdigest()[:32]

    def has_password(self, password: str) -> bool:
        """Say whether this is the user's password; takes a while."""
        return passwords.is_password(self.hash, password)


class Users:
    """The users of one file."""

    def __init__(self, users: Sequence[User]) -> None:
        self._users = {user.name: user for user in users if not user.is_known_by_certificate and user.hash != "-"}
        self._certified = {user.hash: user for user in users if user.is_known_by_certificate}
        self._by_name = {user.name: user for user in users if user.hash != "-"}
        self.everybody = tuple(grant for user in users if user.name == ANONYMOUS for grant in user.grants)
        hashes = sorted(user.hash for user in self._users.values())
        self._secret = (hashes or [""])[0].encode()  # all processes have it, and it seldom changes
        self._decoys = sorted(map(passwords.decoy, hashes)) or [passwords.decoy()]

    def nobody(self, name: str) -> User:
        """Return whom to check in place of an unknown user, so that the time taken does not tell who exists.

        Where hashes of several kinds are in use, as many unknown names as known ones have each; a name keeps its own.
        """
        drawn = int.from_bytes(hmac.digest(self._secret, name.encode(), hashlib.sha256)[:8])
        return User("", self._decoys[drawn * len(self._decoys) >> 64], ())

    @classmethod
    def parse(cls, text: str, where: str = "users") -> Users:
        """Return the users that the lines spell; empty lines and `#` comments are left out. Raises SiteError."""
        users, wrong = [], []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                try:
                    users.append(_user(line))
                except ValueError as error:
                    wrong.append(
                        SiteError(
                            "users-invalid",
                            str(error),
                            where=f"{where} line {number}",
                            hint="take the line out and make it again: dryport registry user add",
                        )
                    )
        if len(wrong) > 1:
            hint = "mend the lines named here"
            raise SiteError("users-invalid", f"{len(wrong)} lines name no user", where=where, findings=wrong, hint=hint)
        if wrong:
            raise wrong[0]
        return cls(users)

    @classmethod
    def load(cls, path: Path) -> Users:
        """Read a users file. Raises SiteError."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SiteError(
                "users-unreadable",
                "the users file cannot be read",
                where=str(path),
                seen=str(error),
                hint=f"dryport registry user add NAME --users {path} --password-file FILE --grant 'pull:*'",
            ) from error
        return cls.parse(text, str(path))

    def find(self, name: str) -> User | None:
        """Return the user of this name who has a password."""
        return self._users.get(name)

    def named(self, name: str) -> User | None:
        """Return the user of this name, however known."""
        return self._by_name.get(name)

    def certified(self, names: Iterable[str]) -> User | None:
        """Return the user whom one of a certificate's names means."""
        return next((user for name in names if (user := self._certified.get(_spelled(name)))), None)

    def all(self) -> Sequence[User]:
        """Return the users by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]


def user_line(name: str, password: str, grants: Sequence[str], *, iterations: int = ITERATIONS) -> str:
    """Return the line (without line end) that lets `name` in by a password. Raises UsageError."""
    head = _checked(name)
    if not password:
        raise UsageError(
            "password-empty",
            "a user needs a password",
            where=name,
            hint="write one into a file of its own: --password-file FILE",
        )
    spelled = spelled_grants(grants, where=name)
    return f"{head}:{passwords.hashed(password, iterations)}:{spelled}"


def certificate_line(name: str, certificate: str, grants: Sequence[str]) -> str:
    """Return the line that lets in who holds a certificate named `cn:...`, `dns:...`, `uri:...`. Raises UsageError."""
    if not _CERTIFICATE_NAME.fullmatch(certificate):
        kinds = ", ".join(CERTIFICATE_KINDS)
        raise UsageError(
            "certificate-name-invalid",
            f"a certificate is named by one of {kinds}, a colon and the name",
            seen=certificate[:100],
            hint="uri:spiffe://site/builder, dns:ci.example.org, cn:builder or sha256:HEX",
        )
    return f"{_checked(name)}:{_spelled(certificate)}:{spelled_grants(grants, where=name)}"


def spelled_grants(grants: Sequence[str], *, where: str) -> str:
    """Return grants as a line has them. Raises UsageError."""
    try:
        return " ".join(str(Grant.parse(grant)) for grant in grants)
    except ValueError as error:
        raise UsageError("grant-invalid", str(error), where=where, hint=GRANT_FORM) from error


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or name == ANONYMOUS or name.startswith(ROBOT):
        raise UsageError(
            "user-name-invalid",
            f"a user's name is 1 to 64 letters, digits or . _ @ -, not {ANONYMOUS} and not beginning with {ROBOT}",
            seen=name[:100],
            hint="a letter or digit comes first, for example: ann or ann@example.org",
        )
    return name


def _spelled(certificate: str) -> str:
    return CERTIFICATE + base64.urlsafe_b64encode(certificate.encode()).decode()


def _user(line: str) -> User:
    name, _, rest = line.partition(":")
    text, colon, grants = rest.partition(":")
    if not _NAME.fullmatch(name) or name.startswith(ROBOT) or not colon:
        raise ValueError("a line is name:hash:grants")
    if name == ANONYMOUS:
        if text != "-":
            raise ValueError(f"the line of {ANONYMOUS} is {ANONYMOUS}:-:grants")
    elif text.startswith(CERTIFICATE):
        if not _CERTIFICATE_NAME.fullmatch(base64.b64decode(text.removeprefix(CERTIFICATE), "-_", True).decode()):
            raise ValueError("the name of a certificate cannot be read")
    else:
        passwords.check(text)
    found = tuple(Grant.parse(grant) for grant in grants.split())
    if name == ANONYMOUS and any(grant.actions != {"pull"} for grant in found):
        raise ValueError(f"{ANONYMOUS} may be granted pull alone")
    return User(name, text, found)
