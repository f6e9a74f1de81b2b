"""A writer that is killed: saves versions and publishes them, telling each once it is acknowledged. Run by the tests beside."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from bot.journal.journal import Journal
from bot.prompts.library import PromptLibrary
from bot.prompts.schema import Prompt

NAME = "support"


def library(workspace: Path) -> tuple[PromptLibrary, Journal]:
    journal = Journal(f"sqlite:///{workspace / 'var' / 'test.db'}")
    return PromptLibrary(workspace / "prompts", journal), journal


def prompt(text: str) -> Prompt:
    return Prompt(technique="zero-shot", role=f"Answer. {text}", author="a", note="n", date=datetime.date(2026, 11, 20))


def write_without_end(prompts: PromptLibrary, journal: Journal, name: str, told: int) -> None:
    """Acknowledges to the file descriptor `told`: "saved 3 HASH" or "published 3 HASH", a line each. For a process forked
    from one that has no connection open."""
    while True:
        known = prompts.versions(name)[-1] if name in prompts.names() else 0
        saved = prompts.save(name, prompt(f"Version {known + 1} by {os.getpid()}. " + "x" * 5000), known)
        os.write(told, f"saved {saved.version} {saved.prompt.hash}\n".encode())
        standing = journal.labels(name).get("production")
        journal.put_label(name, "production", saved.version, saved.prompt.hash, "writer", standing, "next")
        os.write(told, f"published {saved.version} {saved.prompt.hash}\n".encode())
