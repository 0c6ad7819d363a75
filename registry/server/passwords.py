"""Hashes of passwords: PBKDF2-HMAC-SHA256 is what we write; bcrypt lines of other registries are read.

Checking takes a while, on purpose, and is done in a thread. A decoy costs what a real hash costs and fits no password,
so that the time taken does not tell which users exist.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

import bcrypt

ITERATIONS = 600_000
LEAST_ITERATIONS, MOST_ITERATIONS = 100_000, 10_000_000
LEAST_COST, MOST_COST = 8, 16
SALT_BYTES = 16
BCRYPT_BYTES = 72
"""What bcrypt looks at of a password; a longer one is refused, since two of them could be the same to it."""
_PBKDF2 = re.compile(r"pbkdf2-sha256\$([0-9]{1,8})\$([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]+={0,2})")
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")


def hashed(password: str, iterations: int = ITERATIONS) -> str:
    """Return the hash that a users file keeps."""
    salt = secrets.token_bytes(SALT_BYTES)
    return _spelled(iterations, salt, hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations))


def check(text: str) -> str:
    """Return a hash that can be used as it is. Raises ValueError for what is none, is too weak or would take hours."""
    if found := _PBKDF2.fullmatch(text):
        if not LEAST_ITERATIONS <= int(found[1]) <= MOST_ITERATIONS:
            raise ValueError("the number of iterations is out of bounds")
        base64.b64decode(found[2], validate=True), base64.b64decode(found[3], validate=True)
    elif found := _BCRYPT.fullmatch(text):
        if not LEAST_COST <= int(found[1]) <= MOST_COST:
            raise ValueError("the cost of a bcrypt hash is out of bounds")
    else:
        raise ValueError("a password's hash is pbkdf2-sha256$iterations$salt$key, or bcrypt's")
    return text


def is_password(text: str, password: str) -> bool:
    """Say whether a hash is this password's; takes a while."""
    given = password.encode()
    if text.startswith("$2"):
        is_possible = len(given) <= BCRYPT_BYTES and b"\0" not in given
        return bcrypt.checkpw(given if is_possible else b"", text.encode()) and is_possible  # always as slow
    _, iterations, salt, key = text.split("$")
    seen = hashlib.pbkdf2_hmac("sha256", given, base64.b64decode(salt), int(iterations))
    return hmac.compare_digest(seen, base64.b64decode(key))


def decoy(text: str = "") -> str:
    """Return a hash that no password fits and that costs as much as another one, or as one of ours."""
    if text.startswith("$2"):
        return f"{text.rpartition('$')[0]}${'.' * 53}"
    iterations = int(text.split("$")[1]) if text else ITERATIONS
    return _spelled(iterations, bytes(SALT_BYTES), b"\0")  # a key of one byte: no digest is as short


def _spelled(iterations: int, salt: bytes, key: bytes) -> str:
    return "$".join(["pbkdf2-sha256", str(iterations), *(base64.b64encode(part).decode() for part in (salt, key))])
