"""The tables of the store's index. Files hold the content; rows say which repository shows what.

Everything but running uploads can be told again from the files and the ledger. Repositories are known by number, so
that no name ever meets a path. A row that is `dead` (since when) is garbage: it is not shown, and comes back to life
when something names it before its time is over. Triggers keep two counters of each repository: what it holds, for
quotas, and how often it changed.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, ForeignKeyConstraint, Index, Integer, MetaData, String, Table, Text

VERSION = 2
READABLE = frozenset({"1", "2"})
"""The versions that opening a store makes the current one."""

metadata = MetaData()

facts = Table("facts", metadata, Column("name", String, primary_key=True), Column("value", String, nullable=False))

repositories = Table(
    "repositories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("used", Integer, nullable=False, server_default="0"),  # bytes of what it shows
    Column("generation", Integer, nullable=False, server_default="0"),  # grows with each change
)

contents = Table(
    "contents",  # every file of the content store, blobs and manifests alike
    metadata,
    Column("digest", String, primary_key=True),
    Column("size", Integer, nullable=False),
)

holdings = Table(
    "holdings",  # the blobs that a repository shows
    metadata,
    Column("repository", ForeignKey("repositories.id"), primary_key=True),
    Column("digest", ForeignKey("contents.digest"), primary_key=True),
    Column("dead", Float),
    Index("holdings_by_digest", "digest"),
)
Index("holdings_dead", holdings.c.dead, sqlite_where=holdings.c.dead.is_not(None))

manifests = Table(
    "manifests",
    metadata,
    Column("repository", ForeignKey("repositories.id"), primary_key=True),
    Column("digest", ForeignKey("contents.digest"), primary_key=True),
    Column("media_type", String, nullable=False),
    Column("size", Integer, nullable=False),
    Column("subject", String),
    Column("artifact_type", String),
    Column("annotations", Text),  # JSON; kept for those with a subject, which the referrers list repeats
    Column("dead", Float),
    Index("manifests_by_digest", "digest"),
)
Index("manifests_dead", manifests.c.dead, sqlite_where=manifests.c.dead.is_not(None))
_REFERS = manifests.c.subject.is_not(None)
# Pages of referrers, in their order: of all types, and of one.
Index("referrers", manifests.c.repository, manifests.c.subject, manifests.c.digest, sqlite_where=_REFERS)
Index(
    "referrers_by_type",
    manifests.c.repository,
    manifests.c.subject,
    manifests.c.artifact_type,
    manifests.c.digest,
    sqlite_where=_REFERS,
)

mentions = Table(
    "mentions",  # what a manifest names: blobs and children, there or absent on purpose
    metadata,
    Column("repository", Integer, primary_key=True),
    Column("manifest", String, primary_key=True),
    Column("target", String, primary_key=True),
    ForeignKeyConstraint(["repository", "manifest"], ["manifests.repository", "manifests.digest"], ondelete="CASCADE"),
    Index("mentions_by_target", "repository", "target"),
)

tags = Table(
    "tags",
    metadata,
    Column("repository", Integer, primary_key=True),
    Column("name", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("sequence", Integer, nullable=False, server_default="0"),  # the repository's generation when it was set
    ForeignKeyConstraint(["repository", "digest"], ["manifests.repository", "manifests.digest"], ondelete="CASCADE"),
    Index("tags_by_digest", "repository", "digest"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String, primary_key=True),
    Column("repository", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("algorithm", String, nullable=False),
    Column("size", Integer, nullable=False),  # bytes that are durable, never more
    Column("touched", Float, nullable=False),
    Column("reserved", Integer, nullable=False, server_default="0"),  # bytes of the repository's quota
    Column("seen", String),  # the digest of the durable bytes, told by the process that hashed them
    Index("uploads_by_repository", "repository"),
)


_CHANGED = "UPDATE repositories SET generation = generation + 1"
_HELD_SIZE = "(SELECT size FROM contents WHERE digest = {row}.digest)"


def _trigger(table: str, moment: str, when: str, row: str, more: str = "") -> str:
    name = "_".join([table, *moment.lower().split(), "after", "live" if "NEW.dead IS NULL" in when else "dead"])
    return (
        f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {moment} ON {table} WHEN {when} "
        f"BEGIN {_CHANGED}{more.format(row=row)} WHERE id = {row}.repository; END"
    )


def _counting(table: str, size: str) -> list[str]:
    """Return the triggers that count what a repository shows by this table's rows."""
    more, less = f", used = used + {size}", f", used = used - {size}"
    return [
        _trigger(table, "INSERT", "NEW.dead IS NULL", "NEW", more),
        _trigger(table, "DELETE", "OLD.dead IS NULL", "OLD", less),
        _trigger(table, "UPDATE OF dead", "OLD.dead IS NOT NULL AND NEW.dead IS NULL", "NEW", more),
        _trigger(table, "UPDATE OF dead", "OLD.dead IS NULL AND NEW.dead IS NOT NULL", "NEW", less),
    ]


TRIGGERS = (
    *_counting("manifests", "{row}.size"),
    *_counting("holdings", _HELD_SIZE),
    *(_trigger("tags", moment, "1", row) for moment, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD"))),
)

_USED = """UPDATE repositories SET used =
    (SELECT coalesce(sum(size), 0) FROM manifests WHERE repository = id AND dead IS NULL)
    + (SELECT coalesce(sum(size), 0) FROM holdings JOIN contents ON contents.digest = holdings.digest
       WHERE repository = id AND dead IS NULL)"""

FROM_1 = (
    "ALTER TABLE repositories ADD COLUMN used INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE repositories ADD COLUMN generation INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE holdings ADD COLUMN dead FLOAT",
    "ALTER TABLE manifests ADD COLUMN dead FLOAT",
    "ALTER TABLE tags ADD COLUMN sequence INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE uploads ADD COLUMN reserved INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE uploads ADD COLUMN seen VARCHAR",
    "CREATE INDEX manifests_by_digest ON manifests (digest)",
    "CREATE INDEX uploads_by_repository ON uploads (repository)",
    _USED,
)
"""What makes a store of version 1 one of version 2."""

REPLACED = frozenset({"manifests_by_subject"})
"""Indexes that newer ones made needless. Indexes come and go without a new version: no program depends on one."""
