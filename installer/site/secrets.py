"""Secrets of a site: made on the site, kept in files of mode 0600, shown by nobody.

`Secret` masks itself in text, representations and JSON; `reveal` is the one way out, so that a search for it finds
every place where a secret is used.

>>> str(Secret("hunter2"))
'***'
"""

from __future__ import annotations

import secrets as entropy
from collections.abc import Callable, Iterable
from pathlib import Path

from registry.errors import SiteError
from registry.store import durable

MASK = "***"
_LINE_BYTES = 12
"""A line of a secret text shorter than this (`-----`, braces) would blot out innocent words."""


class Secret:
    """A text that nobody should see by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__


class SecretFolder:
    """A folder of secrets, one file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ensure(self, name: str, make: Callable[[], str]) -> Secret:
        """Return the secret called `name`; it is made once and then stays."""
        path = self.folder / name
        if not path.exists():
            durable.make_folder(self.folder, 0o700)
            durable.create(path, make().encode(), 0o600)
        return self.read(name)

    def password(self, name: str) -> Secret:
        """Return a password of 192 random bits that is made once."""
        return self.ensure(name, lambda: entropy.token_urlsafe(24))

    def read(self, name: str) -> Secret:
        """Return a secret that is there. Raises SiteError."""
        path = self.folder / name
        try:
            if path.stat().st_mode & 0o077:
                raise SiteError(
                    "secret-exposed", "others can read a secret", where=str(path), hint=f"chmod 600 {path}, renew it"
                )
            return Secret(path.read_bytes().decode())
        except FileNotFoundError as error:
            raise SiteError(
                "secret-missing", f"the secret {name} is not there", where=str(path), hint="dryport site init site.yaml"
            ) from error


def masked(text: str, secrets: Iterable[Secret]) -> str:
    """Return `text` with every secret, and every telling line of a secret, blotted out."""
    for secret in secrets:
        whole = secret.reveal().strip()
        for part in {whole, *(line.strip() for line in whole.splitlines())}:
            if len(part) >= _LINE_BYTES:
                text = text.replace(part, MASK)
    return text
