"""`bot adapters remove`: takes a version away in one step, and never one that customers are served with."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bot.adapters.catalog import AdapterCatalog
from bot.errors import AdapterError, Conflict
from bot.files import sync, write_atomic
from bot.refs import parse_ref

REMOVED = ".removed"
"""Ending of the empty file that keeps a removed version's number from being given to another."""


def remove(catalog: AdapterCatalog, ref: str, agent_mix: str) -> str:
    """Remove `name@n` → what was removed. Replies in flight end as they began: engines hold adapters in memory.

    `agent_mix` is the mix of the agent that customers meet. Raises AdapterError for a reference without a version, NotFound
    for one that is not there, Conflict where that agent would be left without it.
    """
    if not parse_ref("adapter", ref)[1]:
        raise AdapterError(f"{ref!r} names no version.", f"Write it like {ref.strip()}@1, since newer ones may appear.")
    name, version, folder = catalog.folder(ref)
    pinned = f"{name}@{version}"
    last = catalog.versions(name) == [version]
    for term in agent_mix.split("+"):
        used = term.partition("*")[0].strip()
        if used == pinned or (used == name and last):
            raise Conflict(
                f"{pinned} is in the mix {agent_mix!r} of the agent that customers meet.",
                "Change agent.adapters in settings.yaml first.",
            )
    hidden = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".gone-"))
    try:
        write_atomic(folder.with_name(folder.name + REMOVED), "")
        folder.rename(hidden / folder.name)
        sync(folder.parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return pinned
