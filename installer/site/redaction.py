"""What leaves a site for other eyes: every secret that the site knows is blotted out, and what looks like one.

>>> Redaction([Secret("correct horse battery")]).of_text("login: correct horse battery")
'login: ***'
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

from installer.site.home import Home
from installer.site.secrets import MASK, Secret, masked

_PRIVATE = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_NAMED = re.compile(
    r"(?i)((?:password|passwd|passphrase|secret|token|api[_-]?key|authorization|auth)[\"']?\s*[:=]\s*[\"']?)"
    r"((?:bearer|basic)\s+)?([^\s\"',;}]{4,})"
)
_IN_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^/\s:@]{1,200}:)([^/\s@]{1,500})(@)")
_HASH = re.compile(r"\$(?:2[aby]|5|6|y|pbkdf2[a-z0-9-]*)\$[./A-Za-z0-9$,=+-]{12,}")


class Redaction:
    """Takes secrets out of texts."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._secrets = [form for one in secrets for form in _forms(one)]

    @classmethod
    def of(cls, home: Home) -> Redaction:
        """Return one that knows all that a home keeps secret: passwords, keys, whatever else lies there."""
        folder = home.secrets.folder
        names = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
        secrets = [home.secrets.read(name) for name in names]
        keys = [*home.pki.glob("*.key"), home.apt_key]
        return cls([*secrets, *(Secret(key.read_bytes().decode(errors="replace")) for key in keys if key.is_file())])

    def of_text(self, text: str) -> str:
        """Return a text without its secrets."""
        text = masked(text, self._secrets)
        text = _PRIVATE.sub(MASK, text)
        text = _IN_ADDRESS.sub(rf"\1{MASK}\3", text)
        text = _HASH.sub(MASK, text)
        return _NAMED.sub(rf"\1\2{MASK}", text)

    def of_bytes(self, data: bytes) -> bytes:
        """Return a file without its secrets; what is no text is read as Latin, byte by byte."""
        try:
            return self.of_text(data.decode()).encode()
        except UnicodeDecodeError:
            return self.of_text(data.decode("latin-1")).encode("latin-1", "replace")


def _forms(secret: Secret) -> Iterable[Secret]:
    """A secret as it is, and as it travels: in addresses, and in the header of a login."""
    text = secret.reveal().strip()
    yield secret
    if "\n" not in text:
        yield Secret(quote(text, safe=""))
        yield Secret(base64.b64encode(text.encode()).decode().rstrip("="))
