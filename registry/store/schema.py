"""The tables of the store's index. Files hold the content; rows say which repository shows what.

Everything but tags and running uploads can be told again from the files. Repositories are known by number, so that
no name ever meets a path.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, ForeignKeyConstraint, Index, Integer, MetaData, String, Table, Text

VERSION = 1

metadata = MetaData()

facts = Table("facts", metadata, Column("name", String, primary_key=True), Column("value", String, nullable=False))

repositories = Table(
    "repositories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
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
    Index("holdings_by_digest", "digest"),
)

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
    Index("manifests_by_subject", "repository", "subject"),
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
)
