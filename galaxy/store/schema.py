"""The tables, and the revision of them that this version of Galaxy works with.

`events` has no number of its own besides (stream, seq): SQLite then appends rows to the end of one tree and keeps one
small index, which was measured to be two to three times cheaper than rows clustered by stream when many streams are
written at once. Nothing needs an order across streams.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

REVISION = "0003"

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"})

# Ids are compared byte by byte, so that every database and the memory store agree on their order.
ID = Text().with_variant(Text(collation="C"), "postgresql")

events = Table(
    "events",
    metadata,
    Column("stream", ID, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("stream", "seq"),
)

constellations = Table(
    "constellations",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stars", Integer, nullable=False),
    Column("submitted_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("body", LargeBinary, nullable=False),
)
Index(None, constellations.c.submitted_at, constellations.c.id)
Index(None, constellations.c.state, constellations.c.submitted_at, constellations.c.id)
_going_on = constellations.c.ended_at.is_(None)  # few of many: a start reads these only
Index(
    "ix_constellations_going_on",
    constellations.c.submitted_at,
    constellations.c.id,
    sqlite_where=_going_on,
    postgresql_where=_going_on,
)

_ended = constellations.c.ended_at.is_not(None)
Index(None, constellations.c.ended_at, sqlite_where=_ended, postgresql_where=_ended)

snapshots = Table(
    "snapshots",
    metadata,
    Column("stream", ID, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("sha256", ID, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("at", Double, nullable=False),
)

uses = Table(  # which streams name which artifacts, so that what nobody names can go
    "uses",
    metadata,
    Column("sha256", ID, primary_key=True),
    Column("stream", ID, primary_key=True),
)
Index(None, uses.c.stream)

forgotten = Table(  # constellations that were kept for as long as the settings say
    "forgotten",
    metadata,
    Column("id", ID, primary_key=True),
    Column("at", Double, nullable=False),
    Column("emptied_at", Double),  # None: some of its events are still there
)
_to_empty = forgotten.c.emptied_at.is_(None)
Index("ix_forgotten_going_on", forgotten.c.at, forgotten.c.id, sqlite_where=_to_empty, postgresql_where=_to_empty)

answered = Table(
    "answered",
    metadata,
    Column("key", ID, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
)
Index(None, answered.c.at)

settings = Table(
    "settings",
    metadata,
    Column("name", ID, primary_key=True),
    Column("value", Text, nullable=False),
)
