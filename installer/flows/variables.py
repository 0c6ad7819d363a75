"""What the playbooks are told: the variables of one host, and which of them are secret.

>>> told = Briefing(home, declared.site, plan, contents, authority, apt_key, now)
>>> told.variables(host)["dryport_registry_port"]
5000
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from installer.flows.contents import Contents
from installer.flows.plan import Plan
from installer.site.config import Site
from installer.site.home import Home
from installer.site.pki import LOOPBACK, Authority
from installer.site.secrets import Secret, SecretFolder
from installer.targets.base import Host

USERS = "registry-users"
PULL_USER = "pull"
ADMIN_USER = "admin"
ADMIN_GRANTS = ("pull,push,delete:*",)
PULL_GRANTS = ("pull:*",)


@dataclass(frozen=True, slots=True)
class Passwords:
    """The site's passwords, and the users file that lets them in."""

    pull: Secret
    admin: Secret
    users: Secret
    users_file: Path

    @classmethod
    def ensure(cls, folder: SecretFolder) -> Passwords:
        """Return them, made once: the users file is salted, and a new one would be a change on every host."""
        pull, admin = folder.password("pull-password"), folder.password("admin-password")

        def users() -> str:
            from registry.server.users import user_line  # noqa: PLC0415 - wanted once in a site's life

            lines = (
                user_line(PULL_USER, pull.reveal(), PULL_GRANTS),
                user_line(ADMIN_USER, admin.reveal(), ADMIN_GRANTS),
            )
            return "".join(f"{line}\n" for line in lines)

        return cls(pull, admin, folder.ensure(USERS, users), folder.folder / USERS)


@dataclass(frozen=True, slots=True)
class Briefing:
    """What one apply tells the playbooks."""

    home: Home
    site: Site
    plan: Plan
    contents: Contents
    authority: Authority
    passwords: Passwords
    apt_references: Mapping[str, str]
    """The tag of each apt repository's signed form."""
    apt_key: str
    now: datetime

    def variables(self, host: Host) -> dict[str, object]:
        """Return the variables of a host, as JSON has them; the secrets are revealed here and only here."""
        kit = self.contents.kit
        values: dict[str, object] = {
            "site": self.site.name,
            "ca_pem": self.authority.pem,
            "source_url": f"https://{LOOPBACK}:{self.site.policy.forward_port}",
            "pull_user": PULL_USER,
            "pull_password": self.passwords.pull.reveal(),
            "kit_repository": kit.repository,
            "kit_reference": kit.tag,
            "kit_digest": str(kit.layer.digest),
            "kit_title": kit.title,
            "kit_version": kit.version,
            "apt_repositories": self._apt(),
            "release_product": self.plan.product,
            "release_version": self.plan.version,
            "release_sequence": self.plan.sequence,
            "release_index": self.plan.index,
            "packs": list(self.contents.packs),
            "registry_address": host.address,
            "registry_port": self.site.registry.port,
        }
        if host.name in self.site.registry_hosts:
            leaf = self.authority.leaf(host.name, [host.address, LOOPBACK], now=self.now)
            values |= {
                "registry_certificate": leaf.certificate.read_bytes().decode(),
                "registry_key": leaf.key.read_bytes().decode(),
                "registry_users": self.passwords.users.reveal(),
            }
        return {f"dryport_{name}": value for name, value in values.items()}

    def secrets(self, variables: Mapping[str, object]) -> Sequence[Secret]:
        """Return what must never be shown, for masking."""
        key = variables.get("dryport_registry_key")
        own = (self.passwords.pull, self.passwords.admin, self.passwords.users)
        return (*own, Secret(key)) if isinstance(key, str) else own

    def _apt(self) -> list[dict[str, object]]:
        return [
            {
                "repository": one.repository,
                "reference": self.apt_references[one.repository],
                "suite": one.suite,
                "components": list(one.components),
                "packages": list(one.packages),
                "key_asc": self.apt_key,
            }
            for one in self.contents.apt
        ]
