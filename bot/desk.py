"""The only builder: settings → parts → agent. Everything else is handed what it needs.

Parts are built when they are first asked for, so that `bot prompts list` loads no model and no index.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from bot.adapters.catalog import AdapterCatalog
from bot.base import Base, open_base, open_encoder
from bot.errors import SettingsError
from bot.journal.journal import Journal
from bot.prompts.library import PromptLibrary
from bot.settings import Settings
from bot.types import Embedder, Engine

if TYPE_CHECKING:
    from bot.agent import Agent
    from bot.knowledge.search import KnowledgeBase
    from bot.knowledge.store import Store
    from bot.metrics import Metrics
    from bot.runs.workshop import Workshop

_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "ANONYMIZED_TELEMETRY": "False",
    "TOKENIZERS_PARALLELISM": "false",
}


class Desk:
    """One workspace with its parts. Close it when done."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        os.environ.update(_QUIET)

    @cached_property
    def base(self) -> Base:
        return open_base(self.settings.base, self.settings.var / "base-hashes.json")

    @cached_property
    def encoder(self) -> Base:
        return open_encoder(self.settings.encoder, self.settings.var / "base-hashes.json")

    @cached_property
    def adapters(self) -> AdapterCatalog:
        return AdapterCatalog(self.settings.workspace / "adapters", self.base, self.encoder)

    @cached_property
    def journal(self) -> Journal:
        journal = Journal(self.settings.database_url)
        library = PromptLibrary(self.settings.workspace / "prompts", journal)
        journal.seed_labels(library.seed_labels)
        return journal

    @cached_property
    def prompts(self) -> PromptLibrary:
        return PromptLibrary(self.settings.workspace / "prompts", self.journal)

    @cached_property
    def embedder(self) -> Embedder:
        from bot.knowledge.embedding import SentenceEmbedder

        return SentenceEmbedder(self.settings.embedding)

    @cached_property
    def store(self) -> Store:
        from bot.knowledge.store import ChromaStore

        return ChromaStore(self.settings.var / "index", self.settings.chroma_url)

    @cached_property
    def knowledge(self) -> KnowledgeBase:
        return self.knowledge_on(self.store)

    def knowledge_on(self, store: Store) -> KnowledgeBase:
        """The same articles on another store."""
        from bot.knowledge.search import KnowledgeBase

        settings = self.settings
        return KnowledgeBase(settings.workspace / "knowledge", store, self.embedder, settings.threshold)

    @cached_property
    def engine(self) -> Engine:
        settings = self.settings
        if settings.engine == "scripted":
            from bot.engine.scripted import ScriptedEngine

            return ScriptedEngine(delay=0.03)
        if settings.engine == "remote":
            from bot.engine.remote import RemoteEngine

            if not settings.remote_url:
                raise SettingsError("The remote engine has no address.", "Set remote_url, like http://127.0.0.1:8101/v1.")
            return RemoteEngine(settings.remote_url, settings.remote_key.get_secret_value(), settings.remote_base)
        from bot.engine.local.engine import LocalEngine

        return LocalEngine(
            self.base, settings.dtype, settings.device, settings.threads, settings.max_queue, settings.batch_memory
        )

    @cached_property
    def agent(self) -> Agent:
        from bot.agent import Agent

        settings = self.settings
        return Agent(
            self.engine, self.adapters, self.prompts, self.knowledge, self.journal, self.metrics,
            settings.passages, settings.deadline,
        )  # fmt: skip

    @cached_property
    def metrics(self) -> Metrics:
        from bot.metrics import Metrics

        return Metrics(self.base.name, self.engine.state)

    @cached_property
    def workshop(self) -> Workshop:
        from bot.runs.workshop import Workshop

        return Workshop(self.settings)

    async def close(self) -> None:
        """Close what was opened, on the event loop that used it."""
        if "engine" in self.__dict__:
            await self.engine.close()
        for part in ("knowledge", "embedder", "journal"):
            if part in self.__dict__:
                getattr(self, part).close()
