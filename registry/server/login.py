"""Where tokens are given out: Docker's token flow by GET with Basic, and its OAuth2 form by POST.

Asking for more than is granted is no error: the token holds what is granted. Nothing here tells what exists.
A refresh token is given to who asks for one, to a user or robot who proved a password; it is void with the password.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from registry.server.accounts import Account
from registry.server.context import Call
from registry.server.exchange import Answer
from registry.server.limits import address_of
from registry.server.tokens import ACCESS_SECONDS, Issuer, Kind, scopes_asked
from registry.server.wire import Refusal

FORM_BYTES = 64 << 10
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 256


async def get(call: Call) -> Answer:
    """Docker's flow: `GET /token?service=...&scope=...`, with Basic, a certificate, or nothing where all may pull."""
    issuer = _issuer(call)
    access, request = call.registry.access, call.request
    from_where = address_of(request.peer, request.headers.get("x-forwarded-for"), call.registry.settings.limits)
    identity = await access.identify(request.headers, request.certificate, from_where, tokens=False)
    account = access.account(identity.name) if identity.name else None
    wants_refresh = request.asked("offline_token") == "true"
    return _answer(call, issuer, account, request.query.get("scope", []), wants_refresh=wants_refresh)


async def post(call: Call) -> Answer:
    """OAuth2's flow: a form with `grant_type` password or refresh_token."""
    issuer = _issuer(call)
    form = await _form(call)
    access, request = call.registry.access, call.request
    from_where = address_of(request.peer, request.headers.get("x-forwarded-for"), call.registry.settings.limits)
    kind = _one(form, "grant_type")
    if kind == "password":
        account = await access.login(_one(form, "username"), _one(form, "password"), from_where)
        wants_refresh = _one(form, "access_type") == "offline"
        return _answer(call, issuer, account, form.get("scope", []), wants_refresh=wants_refresh)
    if kind == "refresh_token":
        token = _one(form, "refresh_token")
        return _answer(call, issuer, access.refreshed(token, from_where), form.get("scope", []), refresh=token)
    raise Refusal("UNSUPPORTED", "grant_type is password or refresh_token", status=400)


async def keys(call: Call) -> Answer:
    """Give the public key by which others may check our tokens."""
    headers = {"Content-Type": "application/json", "Cache-Control": "max-age=300"}
    return Answer(200, headers, json.dumps(_issuer(call).keys()).encode())


def _answer(
    call: Call,
    issuer: Issuer,
    account: Account | None,
    asked: Sequence[str],
    *,
    wants_refresh: bool = False,
    refresh: str = "",
) -> Answer:
    try:
        scopes = scopes_asked(asked)
    except ValueError as error:
        raise Refusal("UNSUPPORTED", str(error), status=400) from error
    access, now = call.registry.access, time.time()
    subject, mark = (account.name, account.mark) if account else ("", "")
    allowed = access.allowed(access.granted(account), scopes)
    token = issuer.issue(Kind.ACCESS, subject, mark, allowed, now)
    value = {
        "token": token,
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS,
        "issued_at": datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "scope": " ".join(f"{one.type}:{one.name}:{','.join(sorted(one.actions))}" for one in allowed),
    }
    if wants_refresh and account:
        refresh = issuer.issue(Kind.REFRESH, subject, mark, (), now)
    if refresh:
        value["refresh_token"] = refresh
    call.registry.watch.metrics.add("tokens_issued")
    return Answer(200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, json.dumps(value).encode())


def _issuer(call: Call) -> Issuer:
    issuer = call.registry.access.issuer
    if issuer is None:
        raise Refusal("UNSUPPORTED", "this registry gives out no tokens; use Basic credentials", status=404)
    return issuer


async def _form(call: Call) -> Mapping[str, list[str]]:
    if call.request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Refusal("UNSUPPORTED", f"a form is expected ({_FORM})", status=415)
    body = await call.request.body(FORM_BYTES)
    try:
        text = body.decode("ascii")
        return urllib.parse.parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise Refusal("UNSUPPORTED", "the form cannot be read", status=400) from error


def _one(form: Mapping[str, list[str]], name: str) -> str:
    values = form.get(name, [""])
    if len(values) != 1:
        raise Refusal("UNSUPPORTED", f"{name} is given once", status=400)
    return values[0]
