"""Which examples are shown: fixed, the nearest, or what a budget holds; never the row's own conversation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bot.desk import Desk
from bot.engine.scripted import ScriptedEngine
from bot.prompts.schema import Prompt, parse_prompt
from bot.prompts.select import NOTHING, ExampleSelector, LeftOut
from bot.types import AgentSpec, Message, Turn
from tests.conftest import ROOT, WordEmbedder

PAIRS = [
    ("where is my parcel", "On its way."),
    ("the lamp is broken", "Sorry."),
    ("a late parcel", "Sorry, late."),
    ("hi", "Hi."),
]


def prompt(select: dict[str, Any] | None) -> Prompt:
    examples = [{"customer": c, "agent": a, "source": f"conversation r-{n}"} for n, (c, a) in enumerate(PAIRS)]
    return Prompt.model_validate(
        {
            "technique": "few-shot", "role": "Help.", "examples": examples, "select": select,
            "author": "a", "note": "n", "date": "2026-11-20",
        }
    )  # fmt: skip


def words(messages: Sequence[Message]) -> int:
    return sum(len(message.content.split()) + 1 for message in messages)


async def chosen(select: dict[str, Any] | None, question: str, left_out: LeftOut = NOTHING) -> list[str]:
    found = await ExampleSelector(WordEmbedder()).select(prompt(select), question, words, left_out)
    return [example.customer for example in found]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (None, ["where is my parcel", "the lamp is broken", "a late parcel", "hi"]),
        ({"count": 2}, ["where is my parcel", "the lamp is broken"]),
        ({"tokens": 9}, ["where is my parcel"]),
        ({"tokens": 1}, []),
        ({"by": "similarity", "count": 2}, ["a late parcel", "where is my parcel"]),
        ({"by": "similarity", "tokens": 9}, ["where is my parcel"]),
        ({"by": "similarity", "count": 1, "tokens": 100}, ["where is my parcel"]),
    ],
)
async def test_the_key_decides(select: dict[str, Any] | None, expected: list[str]) -> None:
    assert await chosen(select, "where is my late parcel where") == expected


@given(st.text(max_size=40), st.integers(1, 4))
def test_the_same_input_gives_the_same_examples(question: str, count: int) -> None:
    async def twice() -> None:
        selector = ExampleSelector(WordEmbedder())
        made = prompt({"by": "similarity", "count": count})
        first = await selector.select(made, question, words)
        assert await selector.select(made, question, words) == first
        assert len(first) == count
        assert all(example.source.startswith("conversation r-") for example in first)

    asyncio.run(twice())


async def test_own_conversations_are_left_out_by_id_and_by_words() -> None:
    own = LeftOut.of("r-0", [Message("user", "The lamp  is broken"), Message("assistant", "sorry.")])
    assert await chosen(None, "hi", own) == ["a late parcel", "hi"]


async def test_a_message_costs_one_embedding() -> None:
    asked: list[int] = []

    class Counting(WordEmbedder):
        async def embed(self, texts: Sequence[str]) -> Any:
            asked.append(len(texts))
            return await super().embed(texts)

    selector = ExampleSelector(Counting())
    for _ in range(3):
        await selector.select(prompt({"by": "similarity", "count": 1}), "parcel", words)
    assert asked == [5, 1, 1]


@pytest.mark.parametrize("by", ["order", "similarity"])
async def test_a_budget_counts_each_example_once(by: str) -> None:
    counted: list[int] = []

    def count(messages: Sequence[Message]) -> int:
        counted.append(threading.get_ident())
        return words(messages)

    selector, made = ExampleSelector(WordEmbedder()), prompt({"by": by, "tokens": 30})
    chosen = [await selector.select(made, "parcel", count) for _ in range(5)]
    assert len(chosen[0]) == 4
    assert chosen == [chosen[0]] * 5
    assert len(counted) <= 2 * len(PAIRS)
    assert threading.get_ident() not in counted, "the loop stands still meanwhile"


async def test_what_was_counted_by_one_base_does_not_bind_another() -> None:
    selector, made = ExampleSelector(WordEmbedder()), prompt({"tokens": 30})
    not_ready = await selector.select(made, "hi", lambda messages: 0)
    assert [len(await selector.select(made, "hi", count)) for count in (words, lambda m: 9 * words(m), words)] == [4, 0, 4]
    assert len(not_ready) == 4


async def test_the_agent_sends_the_chosen_ones(desk: Desk) -> None:
    desk.prompts.save("few", prompt({"by": "similarity", "count": 1}), 0)
    await desk.agent.ainvoke(Turn((Message("user", "my lamp is broken"),), AgentSpec("", "few@1", "")))
    assert isinstance(desk.engine, ScriptedEngine)
    sent = [message.content for message in desk.engine.calls[-1].messages]
    assert sent == ["Help.", "the lamp is broken", "Sorry.", "my lamp is broken"]


def test_the_hash_of_what_was_pinned_before_stays() -> None:
    pinned = {
        "support/v2": "4058d36bb4067dad33021c20ff364e8bb2ff88fb16577de16ffb8ecd7abb01f8",
    }
    for name, digest in pinned.items():
        assert parse_prompt((ROOT / "prompts" / f"{name}.yaml").read_text()).hash == digest
    for path in (ROOT / "adapters").glob("*/v1/card.yaml"):
        card = yaml.safe_load(path.read_text())
        if not card["prompt"]:
            continue
        name, _, version = card["prompt"].partition("@")
        assert parse_prompt((ROOT / "prompts" / name / f"v{version}.yaml").read_text()).hash == card["prompt_hash"]
    assert prompt(None).hash != prompt({"count": 2}).hash
