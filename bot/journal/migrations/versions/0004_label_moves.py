"""how labels were moved"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('label_moves',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('label', sa.String(length=64), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('previous', sa.Integer(), nullable=True),
    sa.Column('hash', sa.String(length=64), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('who', sa.String(length=64), nullable=False),
    sa.Column('why', sa.Text(), nullable=False),
    sa.Column('forced', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('label_moves', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_label_moves_name'), ['name'], unique=False)
    op.execute(
        "INSERT INTO label_moves (name, label, version, hash, at, who, why, forced) "
        "SELECT name, label, version, hash, at, who, '', false FROM labels"
    )


def downgrade() -> None:
    with op.batch_alter_table('label_moves', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_label_moves_name'))

    op.drop_table('label_moves')
