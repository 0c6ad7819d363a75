"""Files at an address: taken from any byte on, over as many connections as it takes; the pinned digest judges them.

Nothing that a server says is believed but the size, and that only until the bytes are there: who builds hashes them.
So it may send us elsewhere, as hosts of releases do, and no login goes anywhere.

>>> Addresses().size("https://downloads.example.org/tool-1.0.tar.gz")
1048576
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http import HTTPStatus

import urllib3

from bundles.lock import LockedBlob
from registry.errors import DefinitionError, RemoteError

BLOCK_BYTES = 1 << 20
LONGEST_WAIT = 120
"""Seconds that a server may ask us to wait; more is an answer too."""
_TIMEOUT = urllib3.Timeout(connect=15, read=60)
_GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
HINT = "see that the address answers from here, then run the same command again: it goes on where this one stopped"


class Addresses:
    """The connections of one run; may be used from several threads."""

    def __init__(self) -> None:
        self._retries = _Patient(
            total=5,
            backoff_factor=0.5,
            backoff_max=20,
            status_forcelist=(429, 502, 503, 504),
            raise_on_status=False,
            respect_retry_after_header=True,
        )
        self._lock = threading.Lock()
        self._pool: urllib3.PoolManager | None = None

    def size(self, url: str) -> int:
        """Return how large the file is. Raises DefinitionError if it is not there, RemoteError if nobody says."""
        answer = self._ask("HEAD", url, 0)
        length = answer.headers.get("Content-Length", "")
        if answer.status != HTTPStatus.OK or not length.isdecimal():
            raise RemoteError(
                "address-without-size",
                "the server does not say how large the file is",
                where=url,
                expected="200 with a Content-Length",
                seen=f"{answer.status}, {length or 'no length'}",
                hint="fetch it by hand, and name it as file: {input: NAME}",
            )
        return int(length)

    def whole(self, url: str, limit: int) -> bytes:
        """Return a small file. Raises DefinitionError if it is not there or too large, RemoteError."""
        data = bytearray()
        for block in self._stream(url, 0):
            data += block
            if len(data) > limit:
                raise DefinitionError(
                    "address-too-large",
                    "what comes from there is larger than anything of its kind",
                    where=url,
                    expected=f"at most {limit} bytes",
                    seen="more",
                    hint="see that the address is the right one",
                )
        return bytes(data)

    def blocks(self, url: str, blob: LockedBlob, start: int) -> Iterator[bytes]:
        """Yield the file's bytes from `start` on; what breaks off is taken up as long as bytes come."""
        done = start
        while True:
            before = done
            try:
                for block in self._stream(url, done):
                    done += len(block)
                    yield block
            except urllib3.exceptions.HTTPError as error:
                if done > before:
                    continue
                raise RemoteError(
                    "address-broken-off",
                    "a server does not give what it has",
                    where=url,
                    expected=f"{blob.size} bytes",
                    seen=f"{done} bytes, then: {error}",
                    hint=HINT,
                ) from error
            return

    def _stream(self, url: str, start: int) -> Iterator[bytes]:
        answer = self._ask("GET", url, start)
        try:
            if answer.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
                raise RemoteError("address-refused", f"a server answered {answer.status}", where=url, hint=HINT)
            skipped = start if answer.status == HTTPStatus.OK else 0  # a server may not know ranges
            for block in answer.stream(BLOCK_BYTES):
                if rest := block[skipped:]:
                    yield rest
                skipped -= min(skipped, len(block))
        finally:
            answer.close()

    def _ask(self, method: str, url: str, start: int) -> urllib3.BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            answer = self._connections().request(
                method, url, headers=headers, preload_content=False, decode_content=False, timeout=_TIMEOUT
            )
        except urllib3.exceptions.HTTPError as error:
            raise RemoteError(
                "address-unreachable", "nothing answers there", where=url, seen=str(error)[:300], hint=HINT
            ) from error
        if answer.status in _GONE:
            answer.close()
            raise DefinitionError(
                "source-missing",
                f"{url} is not there, or no longer",
                where=url,
                seen=str(answer.status),
                hint="mend the address in the definition, or name a file that you have: file: {input: NAME}",
            )
        return answer

    def _connections(self) -> urllib3.PoolManager:
        with self._lock:
            if self._pool is None:
                self._pool = urllib3.PoolManager(maxsize=16, retries=self._retries)
            return self._pool


class _Patient(urllib3.Retry):
    """Retries that wait as a server asks, within bounds."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        wait = super().get_retry_after(response)
        return None if wait is None else min(wait, LONGEST_WAIT)
