"""The oras library, fenced: what Palette's own tools push with, held to the rules of our own client.

By itself oras 0.2 sends a password to whatever address a registry's challenge names, carries it to whatever host an
upload is sent to, reads container tools' credentials and runs their programs, has no time limit, waits two minutes
before it says that a password is wrong, and prints what a server says. Here it may talk to one origin only, over TLS
that the given CA vouches for; credentials are ours (`registry.client.credentials`) and go nowhere else; redirects are
not followed. What it uploaded is checked by our own client afterwards (`registry.packs.pushing`).

>>> with Oras(url, ca=Path("ca.pem"), user="ci", password=secret, repository="spectro-packs/archive/web") as oras:
...     oras.put_blob(path, descriptor)
...     oras.put_manifest("1.0.0", data)
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import oras.logger
import requests
from oras.container import Container
from oras.provider import Registry
from requests.adapters import HTTPAdapter

from registry.client.access import fixed_login
from registry.client.address import origin_of
from registry.client.credentials import TOKEN_BYTES, Credentials, TokenRequest
from registry.errors import RemoteError, SiteError
from registry.oci.descriptor import Descriptor
from registry.oci.manifest import OCI_MANIFEST

ATTEMPTS = 4
TIMEOUT = (10.0, 120.0)
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_SAID = 300
_DONE = frozenset({200, 201, 202})
_ABSENT = frozenset({301, 302, 303, 307, 308, 404})
"""Answers to the question whether a blob is there that mean: upload it. A redirect is not followed."""


class _RefusedError(Exception):
    """An answer that is neither yes nor a way to go on."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"{response.status_code} {response.text[:_SAID].strip()}")
        self.status = response.status_code


class _Adapter(HTTPAdapter):
    """TLS as our own client has it: the given CA alone, or the system's; nothing from the environment."""

    def __init__(self, ca: Path | None) -> None:
        try:
            self._context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise SiteError(
                "ca-unreadable", str(error), where=str(ca), hint="give the CA's certificate as PEM: --ca FILE"
            ) from error
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        super().__init__()

    def init_poolmanager(self, *given: Any, **options: Any) -> None:  # noqa: ANN401 - as the library declares it
        super().init_poolmanager(*given, ssl_context=self._context, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ANN401
        """Keep the library from adding its own list of authorities to the context."""
        del url, verify, cert
        conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = "CERT_REQUIRED", None, None


class Oras(Registry):  # type: ignore[misc]
    """An oras client for one repository of one registry."""

    def __init__(self, url: str, *, ca: Path | None, user: str | None, password: str | None, repository: str) -> None:
        self.origin = origin_of(url)
        self.repository = repository
        self._scope = f"repository:{repository}:pull,push"
        self._credentials = Credentials(self.origin, fixed_login(user, password))
        oras.logger.logger.log_handler = []  # it prints what servers say
        # Plain HTTP is for this machine alone; whoever gave the URL has refused any other.
        super().__init__(hostname=self.origin.partition("://")[2], insecure=self.origin.startswith("http://"))
        self.session.trust_env = False
        self.session.headers = requests.structures.CaseInsensitiveDict({"User-Agent": "dryport"})
        self.session.adapters.clear()
        self.session.mount(f"{self.origin}/", _Adapter(ca))
        self.session.mount(f"{self.origin.removesuffix(':443')}/", _Adapter(ca))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def put_blob(self, path: Path, descriptor: Descriptor) -> None:
        """Upload a file as blob, unless the repository has it. Raises RemoteError."""
        layer = {"digest": str(descriptor.digest), "size": descriptor.size}
        self._done(lambda: self.upload_blob(str(path), self._container("latest"), layer), str(descriptor.digest))

    def put_manifest(self, tag: str, data: bytes) -> None:
        """Store a manifest's exact bytes under a tag. Raises RemoteError."""
        url = f"{self.prefix}://{self._container(tag).manifest_url()}"
        headers = {"Content-Type": OCI_MANIFEST}
        self._done(lambda: self.do_request(url, "PUT", data=data, headers=headers), tag)

    def do_request(  # noqa: PLR0917 - the library calls it by position
        self,
        url: str,
        method: str = "GET",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send one request to the one origin, with our credentials; replaces the library's own."""
        del json
        for told in (False, True):
            header = self._credentials.header(self._scope)
            sent = {**(headers or {}), **({"Authorization": header} if header else {})}
            response = self._send(method, url, sent, data, stream=stream)
            challenge = response.headers.get("WWW-Authenticate", "")
            if response.status_code != 401 or told:  # noqa: PLR2004
                break
            if not self._credentials.answer(challenge, self._scope, self._ask, header):
                break
        if response.status_code in {401, 403}:
            raise RemoteError(
                "registry-denied",
                "the registry denies this",
                where=f"{self.origin}/{self.repository}",
                seen=f"{response.status_code} {response.text[:_SAID].strip()}",
                hint="check --user and the password file, and what the user may push",
            )
        is_fine = response.status_code in _DONE or (method == "HEAD" and response.status_code in _ABSENT)
        if not is_fine:
            raise _RefusedError(response)
        return response

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None, *, stream: bool = False
    ) -> requests.Response:
        if origin_of(url) != self.origin:
            raise RemoteError(
                "upload-elsewhere",
                "the registry sends an upload to another server",
                where=self.origin,
                seen=url[:200],
                hint="ask the registry's administrator; dryport uploads to the registry that was named alone",
            )
        response: requests.Response = self.session.request(
            method, url, headers=dict(headers), data=data, stream=stream, timeout=TIMEOUT, allow_redirects=False
        )
        return response

    def _ask(self, request: TokenRequest) -> tuple[int, bytes]:
        form = {"Content-Type": "application/x-www-form-urlencoded"} if request.form is not None else {}
        method = "GET" if request.form is None else "POST"
        response = self._send(method, request.url, {**request.headers, **form}, request.form)
        return response.status_code, bytes(response.content[:TOKEN_BYTES])

    def _done(self, act: Callable[[], object], what: str) -> None:
        """Do something until the registry took it; what is transient is tried again, a bounded number of times."""
        for attempt in range(1, ATTEMPTS + 1):
            is_last = attempt == ATTEMPTS
            try:
                act()
            except _RefusedError as error:
                if error.status not in _TRANSIENT or is_last:
                    hint = "see what the registry says, and its policy"
                    raise self._fault("registry-refuses", what, error, hint=hint) from error
            except requests.exceptions.SSLError as error:
                hint = "give the CA that signed it: --ca FILE"
                raise self._fault("registry-certificate", what, error, hint=hint) from error
            except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
                if is_last:
                    hint = "check address, port and that it runs; then run the same command again"
                    raise self._fault("registry-unreachable", what, error, hint=hint) from error
            except (requests.exceptions.RequestException, ValueError) as error:
                # the library's words for an answer that it cannot use
                raise self._fault("registry-answer", what, error, hint="ask the registry's administrator") from error
            else:
                return
            time.sleep(0.2 * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - spreads load, guards nothing

    def _container(self, tag: str) -> Container:
        return Container(f"{self.hostname}/{self.repository}:{tag}")

    def _fault(self, reference: str, what: str, seen: object, *, hint: str) -> RemoteError:
        words = {
            "registry-certificate": "the given CA does not vouch for the certificate, or it names another host",
            "registry-unreachable": "the registry does not answer",
            "registry-answer": "the registry gave no usable answer",
            "registry-refuses": "the registry does not take this",
        }
        where = f"{self.origin}/{self.repository} ({what})"
        return RemoteError(reference, words[reference], where=where, seen=str(seen)[:_SAID], hint=hint)
