"""Image references as packs and manifests spell them: short, without tag, with tag and digest; and which are the same.

>>> Image.parse("nginx").spelled, Image.parse("docker.io/library/nginx:latest").is_same(Image.parse("nginx"))
('docker.io/library/nginx', True)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from registry.oci.digest import Digest
from registry.oci.reference import DEFAULT_HOST, Reference

LATEST = "latest"
_ALIASES = {
    "index.docker.io": DEFAULT_HOST,
    "registry-1.docker.io": DEFAULT_HOST,
    "registry.hub.docker.com": DEFAULT_HOST,
}
# A token of free text counts only with host, path, and tag or digest: anything shorter may be any word.
_FULL = re.compile(
    r"(?<![\w./:@%-])((?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}(?::[0-9]{1,5})?"
    r"(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64}))(?![\w/@:-])"
)
MAX_TEXT = 4 << 20
MAX_TOKEN = 600


@dataclass(frozen=True, slots=True, order=True)
class Image:
    """An image as named somewhere: host and path spelled out, tag and digest as far as given."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""
    has_host: bool = True
    """Whether the host was written."""

    @classmethod
    def parse(cls, text: str) -> Image:
        """Return the image that `text` names; a missing tag stays missing. Raises ValueError."""
        name, at, digest = text.strip().partition("@")
        if at:
            Digest.parse(digest)
        has_tag = ":" in name.rpartition("/")[2]
        found = Reference.parse(name if has_tag else f"{name}:{LATEST}")
        first, slash, _ = name.partition("/")
        written = bool(slash) and (bool(set(".:") & set(first)) or first == "localhost")
        host = _ALIASES.get(found.host, found.host)
        return cls(host, found.repository, (found.tag or "") if has_tag else "", digest, written)

    @property
    def name(self) -> str:
        """Host and path."""
        return f"{self.host}/{self.path}"

    @property
    def spelled(self) -> str:
        """The whole reference, host and path spelled out."""
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def is_pinned(self) -> bool:
        """Whether it names one content."""
        return bool(self.digest)

    def is_same(self, other: Image) -> bool:
        """Say whether both name the same image: the digests count, or where one has none, the tags."""
        return self.name == other.name and self.is_same_version(other)

    def is_same_version(self, other: Image) -> bool:
        """Say whether digests, or where one has none, tags are equal; no tag is `latest`."""
        if self.digest and other.digest:
            return self.digest == other.digest
        if (self.digest and not self.tag) or (other.digest and not other.tag):
            return False  # one has a digest alone, the other a tag alone: nobody can tell
        return (self.tag or LATEST) == (other.tag or LATEST)


def full_references(text: str) -> Iterator[str]:
    """Yield what in free text can only be an image: host, path, and tag or digest. Linear for any text.

    Lines that begin with `#` are remarks: what they name is an example.
    """
    for line in text[:MAX_TEXT].splitlines():
        if line.lstrip().startswith("#"):
            continue
        for token in re.split(r"[\s\"'`,;=()\[\]{}<>|]+", line):
            if len(token) > MAX_TOKEN or "/" not in token or "//" in token:
                continue
            found = _FULL.fullmatch(token.rstrip(".:"))
            if found:
                yield found[1]


def is_full(text: str) -> bool:
    """Say whether a whole text can be an image with host, path, and tag or digest."""
    return looks_like(text) and Image.parse(text).has_host


def looks_like(text: str) -> bool:
    """Say whether a whole text can be an image reference that is pulled: a path, and a tag or digest."""
    if not text or len(text) > MAX_TOKEN or "//" in text or text != text.strip():
        return False
    try:
        found = Image.parse(text)
    except ValueError:
        return False
    return bool(found.tag or found.digest) and ("/" in text or bool(found.tag))
