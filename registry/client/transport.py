"""One registry over HTTPS: connections, TLS, retries, redirects, and nothing unbounded.

* TLS is always verified: by the given CA alone, or by the system's where none is given. No proxy is taken from the
  environment. Plain HTTP does not exist here.
* HTTP/1.1 with several connections: one HTTP/2 connection carries a fraction of a fast link (zot #4333).
* Retried, a bounded number of times: broken connections, 408, 425, 429, 500, 502, 503, 504. `Retry-After` is honoured.
* A redirect to another origin carries no credentials and stays on HTTPS.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, SSLError
from urllib3.response import BaseHTTPResponse

from registry.client.credentials import TOKEN_BYTES, WHO_ANSWERS, Credentials, origin
from registry.errors import RemoteError, SiteError, UsageError

REDIRECTS = frozenset({301, 302, 303, 307, 308})
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
MISSING = 404
ANSWERS = frozenset({200, 206, MISSING})
LEFTOVER_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What one registry may cost."""

    connections: int = 8
    attempts: int = 5
    redirects: int = 5
    connect_seconds: float = 10
    read_seconds: float = 60
    first_pause: float = 0.2
    longest_pause: float = 60


DEFAULT = Limits()


class Transport:
    """Requests to one registry. Safe for several threads."""

    def __init__(
        self, url: str, *, ca: Path | None, user: str | None, password: str | None, limits: Limits = DEFAULT
    ) -> None:
        self.limits = limits
        self.origin = _origin_of(url)
        self._credentials = Credentials(self.origin, user, password)
        self._pools = urllib3.PoolManager(
            num_pools=8,
            maxsize=limits.connections,
            block=False,
            ssl_context=_context(ca),
            timeout=urllib3.Timeout(connect=limits.connect_seconds, read=limits.read_seconds),
            headers={"User-Agent": "dryport", "Accept-Encoding": "identity"},
            retries=False,
        )

    def close(self) -> None:
        """Close all idle connections now: `clear` alone leaves them to the garbage collector."""
        for key in self._pools.pools.keys():  # noqa: SIM118 - the container refuses to be iterated
            pool = self._pools.pools.get(key)
            if pool is not None:
                pool.close()
        self._pools.clear()

    @contextmanager
    def get(self, path: str, *, scope: str, headers: Mapping[str, str] | None = None) -> Iterator[BaseHTTPResponse]:
        """Give the answer to a GET, its body unread: 200, 206 or 404. Raises RemoteError for anything else."""
        response = self.open(path, scope=scope, headers=headers)
        try:
            yield response
        finally:
            discard(response)

    def open(self, path: str, *, scope: str, headers: Mapping[str, str] | None = None) -> BaseHTTPResponse:
        """Return what `get` gives; the caller must `discard` it."""
        told = False
        for attempt in range(1, self.limits.attempts + 2):
            last = attempt > self.limits.attempts
            try:
                response = self._follow(f"{self.origin}{path}", scope, headers or {})
            except (HTTPError, OSError) as error:
                if last or _is_about_trust(error):
                    raise self._unreachable(error) from error
                self._pause(attempt, None)
                continue
            if response.status in ANSWERS:
                return response
            if response.status == 401 and not told and not last:  # noqa: PLR2004
                told = True
                header = ", ".join(response.headers.getlist("WWW-Authenticate"))
                if self._credentials.answer(header, scope, self._ask):
                    discard(response)
                    continue
            if response.status not in RETRIED or last:
                raise self._refused(response, path)
            wait = response.headers.get("Retry-After")
            discard(response)
            self._pause(attempt, wait)
        raise AssertionError("the last attempt returns or raises")

    def document(
        self, path: str, *, scope: str, limit: int, accept: str = "application/json"
    ) -> tuple[bytes, urllib3.HTTPHeaderDict] | None:
        """Return a whole small body and its headers; None stands for 404. Raises RemoteError above `limit` bytes."""
        for attempt in range(1, self.limits.attempts + 1):
            with self.get(path, scope=scope, headers={"Accept": accept}) as response:
                if response.status == MISSING:
                    return None
                try:
                    return _bounded(response, limit, self.origin + path), response.headers
                except (HTTPError, OSError) as error:
                    if attempt == self.limits.attempts:
                        raise self._unreachable(error) from error
            self._pause(attempt, None)
        raise AssertionError("the last attempt returns or raises")

    def reason_missing(self, path: str, *, scope: str) -> bytes:
        """Return what the registry says about something it answers with 404; nothing if it is there."""
        with self.get(path, scope=scope) as response:
            try:
                return response.read(LEFTOVER_BYTES, decode_content=False) if response.status == MISSING else b""
            except (HTTPError, OSError):
                return b""

    def _follow(self, url: str, scope: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        for _ in range(self.limits.redirects + 1):
            parts = urlsplit(url)
            ours = origin(parts.scheme, parts.hostname, parts.port) == self.origin
            authorization = self._credentials.header(scope) if ours else None
            sent = {**headers, **({"Authorization": authorization} if authorization else {})}
            response = self._pools.request(
                "GET", url, headers={**self._pools.headers, **sent}, redirect=False, preload_content=False
            )
            if response.status not in REDIRECTS or not response.headers.get("Location"):
                return response
            url = _redirected(url, response.headers["Location"])
            discard(response)
        raise RemoteError(
            "redirects-endless", f"more than {self.limits.redirects} redirects", where=self.origin, hint=WHO_ANSWERS
        )

    def _ask(self, target: str, headers: Mapping[str, str]) -> bytes:
        """Get a token: from the registry's own origin, without following redirects."""
        response = self._pools.request(
            "GET",
            f"{self.origin}{target}",
            headers={**self._pools.headers, **headers},
            redirect=False,
            preload_content=False,
        )
        try:
            if response.status != 200:  # noqa: PLR2004
                raise self._refused(response, urlsplit(target).path)
            return _bounded(response, TOKEN_BYTES, self.origin)
        finally:
            discard(response)

    def _pause(self, attempt: int, retry_after: str | None) -> None:
        seconds = self.limits.first_pause * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
        if retry_after and retry_after.strip().isdecimal():
            seconds = float(retry_after)
        time.sleep(min(seconds, self.limits.longest_pause))

    def _unreachable(self, error: Exception) -> RemoteError:
        if _is_about_trust(error):
            return RemoteError(
                "registry-certificate",
                "the registry's certificate is not vouched for by the given CA, or names another host",
                where=self.origin,
                seen=str(error)[:300],
                hint="give the CA that signed it: --ca FILE",
            )
        return RemoteError(
            "registry-unreachable",
            "the registry does not answer",
            where=self.origin,
            seen=str(error)[:300],
            hint="check address, port and that it runs; then the same command again goes on",
        )

    def _refused(self, response: BaseHTTPResponse, path: str) -> RemoteError:
        try:
            said = response.read(LEFTOVER_BYTES, decode_content=False).decode("utf-8", "replace")
        except (HTTPError, OSError):
            said = ""
        finally:
            discard(response)
        seen = f"{response.status} {said.strip()[:300]}"
        if response.status in {401, 403}:
            hint = "check --user and the password file, and what the user may pull"
            return RemoteError(
                "registry-denied", "the registry denies this", where=self.origin + path, seen=seen, hint=hint
            )
        return RemoteError(
            "registry-answer",
            "the registry gave no usable answer",
            where=self.origin + path,
            seen=seen,
            hint=WHO_ANSWERS,
        )


def discard(response: BaseHTTPResponse) -> None:
    """Give a connection back if little of its body is left, else close it: an unread body may have no end."""
    try:
        response.read(LEFTOVER_BYTES, decode_content=False)
    except (HTTPError, OSError):
        response.close()
    if response.closed:
        response.release_conn()
    else:
        response.close()


def _bounded(response: BaseHTTPResponse, limit: int, where: str) -> bytes:
    data = bytearray()
    while block := response.read(min(limit + 1 - len(data), 1 << 18), decode_content=False):
        data += block
        if len(data) > limit:
            raise RemoteError(
                "registry-answer-large", f"the answer is longer than {limit} bytes", where=where, hint=WHO_ANSWERS
            )
    return bytes(data)


def _redirected(url: str, location: str) -> str:
    target = ""
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        usable = parts.scheme == "https" and parts.hostname and parts.username is None and (parts.port or 443)
    except ValueError:
        usable = False
    if not usable:
        raise RemoteError(
            "redirect-not-https",
            "the registry redirects to what is not HTTPS",
            where=url,
            seen=location[:200],
            hint="tell whoever runs it: its external address, or its storage, has to be HTTPS",
        )
    return target


def _origin_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if (
        parts.scheme != "https"
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.username is not None
    ):
        raise UsageError(
            "registry-address",
            "a registry is named by https, host and port alone",
            seen=parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
            hint="https://registry.example.org:5000; user and password file have options of their own",
        )
    return origin(parts.scheme, parts.hostname, port)


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise SiteError(
            "ca-unreadable", str(error), where=str(ca), hint="give the CA's certificate as PEM: --ca FILE"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_about_trust(error: BaseException) -> bool:
    """Say whether a failure cannot be mended by trying again."""
    if isinstance(error, LocationParseError):
        return True
    return isinstance(error, SSLError | ssl.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)
