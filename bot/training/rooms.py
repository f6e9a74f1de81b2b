"""What training needs of the desk, so that it is handed its rooms and builds none."""

from __future__ import annotations

from typing import Protocol

from bot.adapters.catalog import AdapterCatalog
from bot.base import Base
from bot.knowledge.search import KnowledgeBase
from bot.knowledge.store import Store
from bot.prompts.library import PromptLibrary
from bot.prompts.select import ExampleSelector
from bot.settings import Settings


class Rooms(Protocol):
    """`bot.desk.Desk` fits."""

    @property
    def settings(self) -> Settings: ...

    @property
    def base(self) -> Base: ...

    @property
    def adapters(self) -> AdapterCatalog: ...

    @property
    def encoder(self) -> Base: ...

    @property
    def prompts(self) -> PromptLibrary: ...

    @property
    def selector(self) -> ExampleSelector: ...

    def knowledge_on(self, store: Store) -> KnowledgeBase:
        """The workspace's articles on that store."""
        ...
