"""Logins as other tools keep them: docker's `config.json`, podman's `auth.json`, programs, and certificates by host.

* Files and folders are named by the caller; nothing is looked for.
* The nearest entry wins: podman's may name a repository or a namespace, docker's names a host.
* A program (`credHelpers`, `credsStore`) is run without a shell, with bounded time and output, each time the registry
  asks: secrets that live for hours are renewed in the middle of a run. Its answer is not kept.
* A secret is in no message: what a file or a program says wrong is told by its name alone.

>>> logins = Logins.read([Path("auth.json")])
>>> Access(login=logins.source("registry.example.org:5000", "team/app"))
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import select
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from registry.client.access import Login, LoginSource
from registry.errors import SiteError, UsageError
from registry.oci import strictjson

FILE_BYTES = 1 << 20
PROGRAM_SECONDS = 30
PROGRAM_BYTES = 64 << 10
DOCKER_HUB = "https://index.docker.io/v1/"
_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?|\[[0-9a-f:.]+\](?::[0-9]{1,5})?")
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True)
class _Entry:
    login: Login | None
    where: Path


@dataclass(frozen=True, slots=True)
class Logins:
    """What some files say about who logs in where; earlier files come first."""

    _entries: Mapping[str, _Entry] = field(default_factory=dict, repr=False)
    _programs: Mapping[str, str] = field(default_factory=dict)
    _store: str | None = None

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Self:
        """Return the logins in files of docker's or podman's format. Raises UsageError for one that is none."""
        entries: dict[str, _Entry] = {}
        programs: dict[str, str] = {}
        store: str | None = None
        for path in paths:
            value = _object(path)
            for key, entry in _table(value, "auths", path).items():
                entries.setdefault(_name(key), _Entry(_login(entry, key, path), path))
            for key, program in _table(value, "credHelpers", path).items():
                programs.setdefault(_name(key), _program(program, path))
            store = store or (_program(value["credsStore"], path) if value.get("credsStore") else None)
        return cls(entries, programs, store)

    def source(self, host: str, repository: str = "") -> LoginSource:
        """Return where the login for a registry, or one repository of it, comes from whenever it is asked for."""
        return lambda: self.find(host, repository)

    def find(self, host: str, repository: str = "") -> Login | None:
        """Return the login for `host` (with port, as `registry.example.org:5000`). Raises SiteError for a program."""
        host = _name(host)
        path = [part for part in repository.split("/") if part]
        nearest = ["/".join([host, *path[:length]]) for length in range(len(path), -1, -1)]
        for name in nearest:
            if name in self._programs:
                return _ask(self._programs[name], name)
            entry = self._entries.get(name)
            if entry and (entry.login or not self._store):
                return entry.login
        return _ask(self._store, host) if self._store else None


@dataclass(frozen=True, slots=True)
class Certificates:
    """What is kept for one host: who vouches for it, and how this side shows itself."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, folder: Path, host: str) -> Self:
        """Return what `folder/HOST:PORT/` holds: `ca.crt`, and `client.cert` with `client.key`. Raises UsageError."""
        if not _HOST.fullmatch(host):
            raise UsageError(
                "registry-address",
                "not a host that could have a folder",
                seen=host[:150],
                hint="name HOST[:PORT] as the registry's address has it",
            )
        place = folder / host
        found = {name: place / name for name in ("ca.crt", "client.cert", "client.key") if (place / name).is_file()}
        if ("client.cert" in found) != ("client.key" in found):
            raise UsageError(
                "client-certificate-incomplete",
                "a client's certificate and its key belong together",
                where=str(place),
                expected="client.cert and client.key",
                hint="put both there, or none",
            )
        return cls(found.get("ca.crt"), found.get("client.cert"), found.get("client.key"))


def _object(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return _mapping(strictjson.loads(file.read(FILE_BYTES + 1), limit=FILE_BYTES))
    except (OSError, ValueError) as error:
        reason = error.strerror or "unreadable" if isinstance(error, OSError) else "it is not such a JSON file"
        raise UsageError(
            "authfile-unreadable",
            f"logins cannot be read: {reason}",
            where=str(path),
            hint="name the file that docker login or podman login wrote: --authfile FILE",
        ) from None  # the reason may quote the file


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _table(value: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    table = value.get(name) or {}
    if not isinstance(table, dict):
        raise _wrong(path, name)
    return table


def _login(entry: object, key: str, path: Path) -> Login | None:
    """Return the login in an entry of `auths`; None in an empty one, whose secret a program holds."""
    if not isinstance(entry, dict):
        raise _wrong(path, key)
    token, pair = entry.get("identitytoken"), entry.get("auth")
    user, secret = entry.get("username"), entry.get("password")
    if isinstance(pair, str) and pair:
        try:
            user, colon, secret = base64.b64decode(pair, validate=True).decode().rstrip("\0").partition(":")
        except ValueError:
            raise _wrong(path, key) from None
        if not colon:
            raise _wrong(path, key)
    if isinstance(token, str) and token:
        return Login(user if isinstance(user, str) else "", token, is_identity_token=True)
    if isinstance(user, str) and isinstance(secret, str) and user:
        return Login(user, secret)
    return None


def _name(key: str) -> str:
    """Return a key as hosts are named here: docker writes URLs, and a name of its own for its Hub."""
    name = re.sub(r"^https?://", "", key.strip(), flags=re.IGNORECASE).rstrip("/")
    host, slash, path = name.partition("/")
    host = host.lower()
    if host in _HUB_HOSTS:
        host = "docker.io"
    return host if re.fullmatch(r"v[12]", path) else f"{host}{slash}{path}"


def _program(value: object, path: Path) -> str:
    if not isinstance(value, str) or not _PROGRAM.fullmatch(value):
        raise _wrong(path, "a program's name")
    return f"docker-credential-{value}"


def _ask(program: str, name: str) -> Login | None:
    """Ask a program (docker-credential-helpers' protocol: the server on its input, a JSON object on its output)."""
    server = DOCKER_HUB if name == "docker.io" else name
    try:
        process = subprocess.Popen(
            [program, "get"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise _failed(program, name, error.strerror or "it cannot be run") from None
    with process:
        try:
            said = _talk(process, server.encode())
            process.wait(PROGRAM_SECONDS)
        except (ValueError, TimeoutError, subprocess.TimeoutExpired):
            process.kill()
            seen = f"no answer of at most {PROGRAM_BYTES} bytes in {PROGRAM_SECONDS} seconds"
            raise _failed(program, name, seen) from None
    if process.returncode:
        if _NOT_FOUND in said[:1000].decode("utf-8", "replace").lower():
            return None
        raise _failed(program, name, f"it ended with {process.returncode}")
    try:
        value = _mapping(strictjson.loads(said, limit=PROGRAM_BYTES))
    except ValueError:
        value = {}
    user, secret = value.get("Username"), value.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str):
        raise _failed(program, name, "its answer is none")
    return Login("" if user == "<token>" else user, secret, is_identity_token=user == "<token>")


def _talk(process: subprocess.Popen[bytes], question: bytes) -> bytes:
    """Return what the program says. Raises TimeoutError, and ValueError for more than could be a login."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise ValueError("not piped")
    with contextlib.suppress(BrokenPipeError), stdin:
        stdin.write(question)
    said, until = bytearray(), time.monotonic() + PROGRAM_SECONDS
    ready = select.poll()
    ready.register(stdout, select.POLLIN)
    while len(said) <= PROGRAM_BYTES:
        if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError
        block = os.read(stdout.fileno(), PROGRAM_BYTES)
        if not block:
            return bytes(said)
        said += block
    raise ValueError("too much")


def _wrong(path: Path, what: str) -> UsageError:
    return UsageError(
        "authfile-unreadable",
        "logins cannot be read: an entry is not what docker or podman write",
        where=f"{path}, {what[:150]}",
        hint="log in again with the tool that wrote the file",
    )


def _failed(program: str, name: str, seen: str) -> SiteError:
    return SiteError(
        "login-program-failed",
        "a program that keeps logins gives none",
        where=f"{program} get, for {name}",
        seen=seen,
        hint=f"run it yourself: echo {name} | {program} get",
    )
