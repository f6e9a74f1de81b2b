"""users' ids, which own their conversations"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in a batch: SQLite would make the table anew, and dropping the old one takes all sessions and keys with it.
    op.add_column('users', sa.Column('id', sa.String(length=32), nullable=False, server_default=''))
    connection = op.get_bind()
    users = sa.table('users', sa.column('name'), sa.column('id'))
    for name in connection.scalars(sa.select(users.c.name)).all():
        connection.execute(sa.update(users).where(users.c.name == name).values(id=_owner(name)))
    op.create_index(op.f('ix_users_id'), 'users', ['id'], unique=True)
    # The default served the rows that were there. SQLite cannot take it off without making the table anew; there it stays,
    # and no row is written without an id.
    if connection.dialect.name != 'sqlite':
        op.alter_column('users', 'id', server_default=None)


def downgrade() -> None:
    op.drop_index(op.f('ix_users_id'), 'users')
    op.drop_column('users', 'id')


def _owner(name: str) -> str:
    """What owned this user's conversations until now: keeping it as the id keeps them. Later users' ids are drawn."""
    digest = hashlib.sha256()
    for part in (b'user', name.encode()):
        digest.update(len(part).to_bytes(8, 'big') + part)
    return digest.hexdigest()[:32]
