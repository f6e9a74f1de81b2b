"""The knowledge base as a LangChain retriever."""

from __future__ import annotations

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from bot.blocking import wait_for
from bot.knowledge.search import KnowledgeBase


class KnowledgeRetriever(BaseRetriever):
    """At most `k` relevant documents of one collection; metadata holds title, article and score."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    knowledge: KnowledgeBase
    collection: str
    k: int = 3

    async def _search(self, query: str, k: int | None) -> list[Document]:
        found = await self.knowledge.search(query, self.collection, k or self.k)
        return [
            Document(p.text, id=p.id, metadata={"title": p.title, "article": p.article, "score": p.score}) for p in found
        ]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return await self._search(query, k)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return wait_for(lambda: self._search(query, k))
