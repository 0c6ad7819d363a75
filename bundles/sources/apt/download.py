"""Debian packages read over HTTP(S) or from a local mirror, straight into whoever asks; nothing is kept on disk.

The machine's own apt configuration says which server, proxy and CA; the digest in the lock says whether it is the
right package. A connection that breaks is resumed where it broke.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

import urllib3

from bundles.lock import AptPackage, LockedBlob
from bundles.sources.apt.entries import Entry, PackageSet, machine_entries, narrowed
from bundles.sources.apt.location import addresses, public
from bundles.sources.apt.program import setting
from registry.errors import DefinitionError, RemoteError

BLOCK_BYTES = 1 << 18
_TIMEOUT = urllib3.Timeout(connect=15, read=60)
_RETRIES = urllib3.Retry(total=4, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), raise_on_status=False)


class Downloads:
    """Connections to the package servers of one run; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: tuple[Entry, ...] | None = None
        self._proxies: dict[tuple[str, str], str] = {}
        self._pools: dict[str, urllib3.PoolManager] = {}

    def blocks(self, package: AptPackage, blob: LockedBlob, start: int = 0) -> Iterator[bytes]:
        """Yield a package's bytes from `start` on.

        Raises DefinitionError if no server has it any more, RemoteError if one fails.
        """
        asked = addresses(package.path, self._servers(package))
        for address in asked:
            is_local = urlsplit(address).scheme in {"file", "copy"}
            blocks = _local(address, start) if is_local else self._remote(address, blob, start)
            first = next(blocks, None)
            if first is not None:
                yield first
                yield from blocks
                return
        raise DefinitionError(
            "source-changed",
            f"package {package.package} {package.version} is gone from the servers",
            where=", ".join(map(public, asked)),
            expected=f"{blob.size} bytes, {blob.digest}",
            seen="not found",
            hint="a newer version has taken its place: lock again with dryport bundle lock bundle.yaml",
        )

    def _servers(self, package: AptPackage) -> tuple[Entry, ...]:
        with self._lock:
            if self._entries is None:
                self._entries = machine_entries()
        wanted = PackageSet(tuple(package.suites), tuple(package.components), package.architecture)
        return narrowed(self._entries, wanted)

    def _remote(self, address: str, blob: LockedBlob, start: int) -> Iterator[bytes]:
        """Yield the bytes at `address` from `start` on, none at all if the server has nothing there."""
        done = start
        while True:
            before = done
            try:
                for block in self._answer(address, done, is_first=done == start):
                    done += len(block)
                    yield block
            except urllib3.exceptions.HTTPError as error:
                if done > before:
                    continue  # broken off on the way: taken up again where it broke, as long as bytes come
                raise RemoteError(
                    "package-server-failed",
                    "a package server does not give what its list names",
                    where=public(address),
                    expected=f"{blob.size} bytes",
                    seen=f"{done} bytes, then: {error}",
                    hint="see whether this machine's network and apt work: apt-get update",
                ) from error
            else:
                return

    def _answer(self, address: str, start: int, *, is_first: bool) -> Iterator[bytes]:
        # identity: what apt's lists hash is the file, not some encoding of it.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        if credentials := urlsplit(address).username:
            password = unquote(urlsplit(address).password or "")
            headers |= urllib3.make_headers(basic_auth=f"{unquote(credentials)}:{password}")
        answer = self._pool(address).request(
            "GET",
            public(address),
            headers=headers,
            preload_content=False,
            decode_content=False,
            timeout=_TIMEOUT,
            retries=_RETRIES,
        )
        try:
            if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE} and is_first:
                return
            if answer.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
                raise RemoteError(
                    "package-server-failed",
                    f"a package server answered {answer.status}",
                    where=public(address),
                    hint="see whether this machine's apt gets it: apt-get update",
                )
            skipped = start if answer.status == HTTPStatus.OK else 0  # a server may not know ranges
            for block in answer.stream(BLOCK_BYTES):
                yield block[skipped:]
                skipped -= min(skipped, len(block))
        finally:
            answer.close()

    def _pool(self, address: str) -> urllib3.PoolManager:
        target = urlsplit(address)
        with self._lock:
            key = (target.scheme, target.hostname or "")
            if key not in self._proxies:
                self._proxies[key] = _proxy(*key)
            proxy = self._proxies[key]
            if proxy not in self._pools:
                authorities = setting("Acquire::https::CaInfo/f") or None
                self._pools[proxy] = (
                    urllib3.ProxyManager(proxy, ca_certs=authorities, maxsize=16)
                    if proxy
                    else urllib3.PoolManager(ca_certs=authorities, maxsize=16)
                )
            return self._pools[proxy]


def _proxy(scheme: str, host: str) -> str:
    """Return the proxy that apt would use, empty for none: the host's own setting, then the scheme's, then http's."""
    for name in (f"Acquire::{scheme}::Proxy::{host}", f"Acquire::{scheme}::Proxy", "Acquire::http::Proxy"):
        if value := setting(name):
            return "" if value == "DIRECT" else value
    return ""


def _local(address: str, start: int) -> Iterator[bytes]:
    path = Path(unquote(urlsplit(address).path))
    if not path.is_file():
        return
    with path.open("rb") as stream:
        stream.seek(start)
        while block := stream.read(BLOCK_BYTES):
            yield block
