"""`dryport registry serve --check`: whether all that a configuration names is there, fits, and can be used.

A finding would keep the registry from serving; a warning would not, but somebody would stumble over it. Nothing is
made, written or locked, and the port may be in use: by the registry, whose next configuration this is.

>>> check(Path("/etc/dryport/registry/config.yaml")).findings
()
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from installer.cli.render import Console
from installer.cli.serving import ACCESS, BundleEntry, ServeConfig, address, below, judge, open_entry, site_error
from registry.errors import DryportError, MediaError, SiteError, TrustError, UsageError
from registry.server.accounts import KEY, ROBOTS, VOID, read_issuer, read_void
from registry.server.audit import AUDIT
from registry.server.handshake import objection
from registry.server.robots import Robots
from registry.server.serve import listen_at
from registry.server.users import Users
from registry.store import precheck
from registry.store.policy import NAME, Policy

WORST_FIRST = (TrustError, MediaError, SiteError)
_EVERYBODY = 0o007


@dataclass(frozen=True, slots=True)
class Checked:
    """What a look at a configuration brought."""

    findings: Sequence[DryportError]
    """Worst first."""
    warnings: Sequence[str]
    seen: Sequence[str]
    """What is well, a line each."""

    def refusal(self, path: Path) -> DryportError | None:
        """Return the error that holds all findings; it is of the worst one's family. None without any."""
        if not self.findings:
            return None
        return type(self.findings[0])(
            "config-unusable",
            f"{len(self.findings)} finding(s) would keep the registry from serving",
            where=str(path),
            findings=self.findings,
            hint="mend what is named here, then check again",
        )


def check(path: Path) -> Checked:
    """Look at everything that the configuration in a file names."""
    look = _Look(path)
    with look.noting():
        config, wrong = ServeConfig.partly(path)
        if wrong:
            look.note(wrong)
        look.at(config, is_whole=wrong is None)
    return look.checked()


def report(path: Path, console: Console) -> None:
    """Check a configuration and print what came of it. Raises what the worst finding is, or ends with its code."""
    done = check(path)
    for warning in done.warnings:
        console.note(f"warning: {warning}")
    word = "would not serve" if done.findings else "can be served"
    text = "\n".join([f"{path}: {word}", *(f"  {line}" for line in done.seen)])
    value = {"config": str(path), "isUsable": not done.findings, "seen": done.seen, "warnings": done.warnings}
    console.verdict("RegistryConfig", value, text, done.refusal(path))


class _Look:
    """One look: what was found so far."""

    def __init__(self, path: Path) -> None:
        self._path, self._folder = path, path.parent
        self._findings: list[DryportError] = []
        self._warnings: list[str] = []
        self._seen: list[str] = []

    def checked(self) -> Checked:
        rank = {family: number for number, family in enumerate(WORST_FIRST)}
        worst_first = sorted(self._findings, key=lambda one: rank.get(type(one), 0))
        return Checked(tuple(worst_first), tuple(self._warnings), tuple(self._seen))

    def note(self, error: DryportError) -> None:
        """Take in an error; what it collected counts one by one."""
        if isinstance(error, UsageError):  # said on the command line, it would be a matter of usage
            error = site_error(error, self._path)
        self._findings += error.findings or [error]

    def at(self, config: ServeConfig, *, is_whole: bool) -> None:
        """Look at each part by itself; at what fits together only where nothing is left out."""
        looks: list[Callable[[ServeConfig], Iterator[str]]] = [self._listen, self._certificate, self._client_ca]
        looks += [self._users, self._store, self._access]
        looks += [partial(self._bundle, entry) for entry in config.bundles]
        if is_whole:
            looks.insert(0, self._settings)
        for look in looks:
            with self.noting():
                self._seen += look(config)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Take in what is raised inside, and go on."""
        try:
            yield
        except (DryportError, OSError) as error:
            self.note(error if isinstance(error, DryportError) else self._refused(error))

    def _refused(self, error: OSError) -> SiteError:
        return SiteError(
            "file-unreadable",
            error.strerror or str(error),
            where=str(error.filename or self._path),
            hint="let the user that serves read it",
        )

    def _settings(self, config: ServeConfig) -> Iterator[str]:
        with self.noting():
            if not config.bundles:
                judge(config.store, ())
        config.settings(self._folder)
        return iter(())

    def _listen(self, config: ServeConfig) -> Iterator[str]:
        listen_at(address(config.listen)[0], 0).close()
        yield f"listens on {config.listen}, {'TLS' if config.certificate else 'without TLS'}"

    def _certificate(self, config: ServeConfig) -> Iterator[str]:
        certificate, key = (below(self._folder, one) for one in (config.certificate, config.key))
        if certificate is None or key is None:
            return
        try:
            words = objection(certificate, key, _host(config.external_url or ""))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise SiteError(
                "certificate-unusable",
                "the certificate and its key cannot be used",
                where=f"{certificate}, {key}",
                seen=str(error),
                hint="give a PEM certificate chain and the unencrypted PEM key that belongs to it",
            ) from error
        if words:
            self._warnings.append(f"{certificate}: clients will refuse it: {words}")
        if key.stat().st_mode & _EVERYBODY:
            self._warnings.append(f"{key}: everybody on this machine may read it; chmod o= {key}")
        yield f"certificate {certificate}"

    def _client_ca(self, config: ServeConfig) -> Iterator[str]:
        path = below(self._folder, config.client_ca)
        if path is None:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(str(path))
        except OSError as error:
            raise SiteError(
                "client-ca-unusable",
                "the authority of the clients cannot be used",
                where=str(path),
                seen=str(error),
                hint="client_ca is a file of PEM certificates",
            ) from error
        yield f"clients' authority {path}"

    def _users(self, config: ServeConfig) -> Iterator[str]:
        path = below(self._folder, config.users)
        if path is None:
            if not config.anonymous_pull:
                self._warnings.append("no users file is named: nobody but robots can log in")
            return
        found = Users.load(path)
        if not found.all() and not found.everybody:
            self._warnings.append(f"{path} names no user: nobody but robots can log in")
        yield f"users {path}: {len(found.all())}"

    def _store(self, config: ServeConfig) -> Iterator[str]:
        path = below(self._folder, config.store)
        if path is None:
            return
        found = precheck.faults(path)
        for one in found:
            self.note(one)
        if found:
            return
        policy = Policy.read(path / NAME)
        yield f"store {path}{'' if path.is_dir() else ', to be made'}"
        if policy != Policy():
            yield f"policy {path / NAME}: {len(policy.rules)} rule(s){', read-only' if policy.read_only else ''}"

    def _access(self, config: ServeConfig) -> Iterator[str]:
        store = below(self._folder, config.store)
        path = below(self._folder, config.access) or (store / ACCESS if store else None)
        if path is None or not (config.access or path.exists()):
            return
        for one in precheck.unwritable(path, ["*", f"{AUDIT}/*"]):
            words = "the folder of tokens and audit cannot be used"
            self.note(SiteError("access-folder-unusable", words, where=one.where, seen=one.seen, hint=one.hint))
        for file, read in ((ROBOTS, Robots.load), (VOID, read_void), (KEY, partial(read_issuer, service=""))):
            if (path / file).exists() and os.access(path / file, os.R_OK, effective_ids=True):
                with self.noting():
                    read(path / file)
        yield f"access {path}"

    def _bundle(self, entry: BundleEntry, _: ServeConfig) -> Iterator[str]:
        with closing(open_entry(entry, self._folder, learns=False)) as verified:
            self._warnings += [f"{entry.path}: {warning}" for warning in verified.warnings]
            release = verified.release
            yield f"bundle {entry.path}: {release.product} {release.version}, sequence {release.sequence}, verified"


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # told already
        return None
