"""A site's home: the folder with its identity, memory, keys and journal, and the lock that lets one operator act.

* The folder is 0700 and belongs to whoever runs dryport; anything else is refused.
* The lock is the kernel's (flock): it ends with the process, however that ends.

>>> home = Home.open(Path("/var/lib/dryport/quickstart"))
>>> with home.locked():
...     ...
"""

from __future__ import annotations

import fcntl
import os
import secrets as entropy
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from installer.site.config import Declared
from installer.site.secrets import SecretFolder
from registry.errors import SiteError
from registry.oci import strictjson
from registry.store import durable


class Identity(BaseModel):
    """`site.json`: which site this home belongs to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    apiVersion: str = Field("dryport/v1", pattern="^dryport/v1$")  # noqa: N815
    kind: str = Field("SiteIdentity", pattern="^SiteIdentity$")
    name: str
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    declared: str = Field(description="Where the site.yaml lies.")


@dataclass(frozen=True, slots=True)
class Home:
    """An open home."""

    path: Path
    identity: Identity

    @classmethod
    def make(cls, path: Path, declared: Declared) -> tuple[Home, bool]:
        """Return the home of a site, made if it is not there, and whether anything was changed."""
        durable.make_folder(path, 0o700)
        _private(path)
        for name in ("pki", "secrets", "store", "plans", "logs"):
            durable.make_folder(path / name, 0o700)
        file = path / "site.json"
        found = cls.open(path).identity if file.exists() else None
        if found and found.name != declared.site.name:
            raise SiteError(
                "home-of-another-site",
                "this home belongs to another site",
                where=str(path),
                expected=declared.site.name,
                seen=found.name,
                hint="give each site a home of its own: --home DIR, or home: in site.yaml",
            )
        wanted = Identity(
            name=declared.site.name, id=found.id if found else entropy.token_hex(16), declared=str(declared.path)
        )
        if wanted != found:
            durable.replace(file, strictjson.canonical(wanted.model_dump()), 0o600)
        return cls(path, wanted), wanted != found

    @classmethod
    def open(cls, path: Path) -> Home:
        """Return the home in a folder. Raises SiteError."""
        file = path / "site.json"
        try:
            _private(path)
            identity = Identity.model_validate(strictjson.loads(file.read_bytes()))
        except FileNotFoundError as error:
            raise SiteError(
                "home-missing", "there is no site home", where=str(path), hint="dryport site init site.yaml"
            ) from error
        except (ValueError, ValidationError) as error:
            raise SiteError("home-damaged", str(error), where=str(file), hint="restore it from a backup") from error
        return cls(path, identity)

    @property
    def trust(self) -> Path:
        """The trust memory."""
        return self.path / "trust.json"

    @property
    def journal(self) -> Path:
        """The record of every step."""
        return self.path / "journal.jsonl"

    @property
    def state(self) -> Path:
        """What the site runs."""
        return self.path / "state.json"

    @property
    def known_hosts(self) -> Path:
        """The pinned host keys."""
        return self.path / "known_hosts"

    @property
    def pki(self) -> Path:
        """The site CA and what it signed."""
        return self.path / "pki"

    @property
    def apt_key(self) -> Path:
        """The OpenPGP key that signs apt repositories (secret; the public one ends in .asc)."""
        return self.path / "apt-key.pgp"

    @property
    def apt_certificate(self) -> Path:
        """The public half of the apt key."""
        return self.path / "apt-key.asc"

    @property
    def store(self) -> Path:
        """What the site itself signed, as a registry store."""
        return self.path / "store"

    @property
    def logs(self) -> Path:
        """Full output of steps, with secrets masked."""
        return self.path / "logs"

    @property
    def secrets(self) -> SecretFolder:
        """The site's secrets."""
        return SecretFolder(self.path / "secrets")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for one process. Raises SiteError that names the one who holds it."""
        handle = os.open(self.path / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        owner = self.path / "lock.owner"
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SiteError(
                    "home-locked",
                    "another dryport works on this site",
                    where=str(self.path),
                    seen=owner.read_bytes().decode(errors="replace").strip() if owner.exists() else "",
                    hint="wait until it ends; the lock ends with its process",
                ) from error
            durable.replace(owner, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0o600)
            yield
        finally:
            os.close(handle)


def _private(path: Path) -> None:
    found = path.stat()
    if found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise SiteError(
            "home-not-private",
            "the home must belong to who runs dryport and be closed to others",
            where=str(path),
            expected=f"owner {os.geteuid()}, mode 700",
            seen=f"owner {found.st_uid}, mode {found.st_mode & 0o777:o}",
            hint=f"chmod 700 {path}, or choose another folder with --home"
            if found.st_uid == os.geteuid()
            else f"run it as user {found.st_uid}, or choose another folder with --home",
        )
