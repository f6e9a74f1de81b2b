"""Alembic's entry: runs the migrations on the engine that `bot.journal.database` hands over."""

from __future__ import annotations

from alembic import context

from bot.journal.models import Base

with context.config.attributes["engine"].begin() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
