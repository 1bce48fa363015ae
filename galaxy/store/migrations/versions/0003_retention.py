"""What is kept for how long: which streams use which artifacts, and which constellations are forgotten."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
USED = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
ROWS = 1_000


def upgrade() -> None:
    uses = op.create_table(
        "uses",
        sa.Column("sha256", ID, nullable=False),
        sa.Column("stream", ID, nullable=False),
        sa.PrimaryKeyConstraint("sha256", "stream", name="pk_uses"),
    )
    op.create_index("ix_uses_stream", "uses", ["stream"])
    op.create_table(
        "forgotten",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("emptied_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_forgotten"),
    )
    op.create_index(
        "ix_forgotten_going_on",
        "forgotten",
        ["at", "id"],
        sqlite_where=sa.text("emptied_at IS NULL"),
        postgresql_where=sa.text("emptied_at IS NULL"),
    )
    op.create_index(
        "ix_constellations_ended_at",
        "constellations",
        ["ended_at"],
        sqlite_where=sa.text("ended_at IS NOT NULL"),
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
    _note_uses(uses)


def _note_uses(uses: sa.Table) -> None:
    """Write down what the events of before use: whatever they name that is an artifact here."""
    connection = op.get_bind()
    known = {name.encode() for (name,) in connection.execute(sa.text("SELECT sha256 FROM artifacts"))}
    if not known:
        return
    found: set[tuple[str, str]] = set()
    after = ("", 0)
    page = sa.text(
        "SELECT stream, seq, body FROM events WHERE (stream, seq) > (:stream, :seq) ORDER BY stream, seq LIMIT :most"
    )
    while rows := connection.execute(page, {"stream": after[0], "seq": after[1], "most": ROWS}).all():
        found |= {(name.decode(), stream) for stream, _, body in rows for name in USED.findall(body) if name in known}
        after = (rows[-1][0], rows[-1][1])
    if found:
        op.bulk_insert(uses, [{"sha256": name, "stream": stream} for name, stream in sorted(found)])
