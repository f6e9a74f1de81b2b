"""LangChain's own standard suites over our chat model and retriever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from bot.engine.chat_model import ChatSwitchboard
from bot.engine.scripted import ScriptedEngine
from bot.knowledge.retriever import KnowledgeRetriever
from bot.knowledge.search import KnowledgeBase
from bot.knowledge.store import MemoryStore
from bot.skeleton import SOURCE
from tests.conftest import WordEmbedder


class TestChatModelUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[ChatSwitchboard]:
        return ChatSwitchboard

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"engine": ScriptedEngine()}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False


class TestRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return KnowledgeRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        knowledge = KnowledgeBase(Path(SOURCE) / "knowledge", MemoryStore(), WordEmbedder(), threshold=-1.0)
        return {"knowledge": knowledge, "collection": "articles"}

    @property
    def retriever_query_example(self) -> str:
        return "When is the help desk open?"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


def test_streaming_carries_text_usage_and_the_reason(engine: ScriptedEngine) -> None:
    engine.enqueue("one two three")
    model = ChatSwitchboard(engine=engine, max_tokens=2)
    chunks = list(model.stream([SystemMessage("be short"), HumanMessage("hi")]))
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert whole.content == "one two "
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 2
    assert whole.response_metadata["finish_reason"] == "length"


async def test_bound_stop_seed_and_temperature_reach_the_engine(engine: ScriptedEngine) -> None:
    model = ChatSwitchboard(engine=engine).bind(stop=["END"], seed=7, temperature=0.5)
    assert (await model.ainvoke("hi")).content.endswith("hi")
    call = engine.calls[-1]
    assert (call.sampling.stop, call.seed, call.sampling.temperature) == (("END",), 7, 0.5)


async def test_leaving_a_stream_closes_the_engines(engine: ScriptedEngine) -> None:
    engine.enqueue("one two three four")
    for chunk in ChatSwitchboard(engine=engine).stream("hi"):
        assert chunk.content == "one "
        break
    assert engine.finished[-1] == "cancelled"
