"""Connections by host: whom they trust, what they show of themselves, and through which proxy they go."""

from __future__ import annotations

import ssl
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import LocationParseError, SSLError

from registry.client.access import Access
from registry.client.address import is_loopback
from registry.client.wire import Rules, with_rules
from registry.errors import SiteError


def pools_for(home: str, access: Access, rules: Rules, *, connections: int) -> urllib3.PoolManager:
    """Return the pools in which a registry on `home` is reached. Raises SiteError for certificates that are none."""
    host = urlsplit(home).hostname or ""
    context = cache(partial(_context, access))  # reading the system's authorities takes as long as all other beginnings
    if home.startswith("https:") or access.ca or access.certificate:
        context()
    settings: dict[str, Any] = {
        "num_pools": 8,
        "maxsize": connections,
        "block": False,
        "headers": {"User-Agent": "dryport", "Accept-Encoding": "identity"},
        "retries": False,
    }
    proxy = access.proxy
    if proxy and proxy.serves(host) and not is_loopback(host):
        login = proxy.login()
        told = urllib3.make_headers(proxy_basic_auth=f"{login.user}:{login.secret}") if login else None
        return with_rules(urllib3.ProxyManager(proxy.url, proxy_headers=told, **settings), rules, context)
    return with_rules(urllib3.PoolManager(**settings), rules, context)


def _context(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.ca)
    except (OSError, ssl.SSLError) as error:
        raise SiteError(
            "ca-unreadable", str(error), where=str(access.ca), hint="give the CA's certificate as PEM: --ca FILE"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if access.certificate:
        try:
            context.load_cert_chain(access.certificate, access.key, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            raise SiteError(
                "client-certificate-unreadable",
                str(error),
                where=str(access.certificate),
                hint="client.cert and client.key belong together, as PEM, and the key has no passphrase",
            ) from error
    return context


def _no_password() -> str:
    """Answer for a key with a passphrase: nobody is asked at a terminal that may not be there."""
    return ""


def is_about_trust(error: BaseException) -> bool:
    """Say whether a failure cannot be mended by trying again."""
    if isinstance(error, LocationParseError):
        return True
    return isinstance(error, SSLError | ssl.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)
