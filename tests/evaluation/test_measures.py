"""Each measure by hand: known replies, known values; the same for an arm and its double, and the same every time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.evaluation.arms import Arm
from bot.evaluation.items import Item
from bot.evaluation.measured import (
    CHRF,
    CONSISTENCY,
    FACTS_RIGHT,
    FACTS_WRONG,
    FAIRNESS_GAP,
    FORGETTING,
    REFERENCE_COST,
    RULES,
    SIMILARITY,
    Measured,
)
from bot.evaluation.measures import consistency, fairness
from bot.evaluation.measures.further import sampled
from bot.evaluation.measures.meaning import Meanings
from bot.evaluation.measures.measure_all import bare_arms, further_items, general_items, measure_all
from bot.evaluation.measures.per_item import by_arm
from bot.evaluation.measures.rewording import reworded
from bot.evaluation.replies import ReferenceCost, Reply
from bot.prompts.library import PromptLibrary
from bot.runs.progress import Quiet
from bot.types import AgentSpec, Message, Passage
from tests.conftest import WordEmbedder

REFERENCES = ("You have 45 days. Press Send back.", "The label costs $4.95.", "You are welcome.")


def item(number: int, reference: str, *history: str) -> Item:
    turns = [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(history)]
    passage = Passage("p1", "Returns", "Standard delivery takes 3 days.", "returns")
    return Item(f"c{number}/1", f"c{number}", tuple(turns), reference, (passage,))


ITEMS = [item(n, text, f"how do i return lamp {n + 2}?") for n, text in enumerate(REFERENCES)]
ARMS = [
    Arm("base", "base", AgentSpec()),
    Arm("zero-shot", "zero-shot", AgentSpec(prompt="support@1")),
    Arm("adapter", "adapter", AgentSpec("returns@1")),
]


@dataclass
class Asked:
    replies: tuple[Reply, ...] = ()
    costs: tuple[ReferenceCost, ...] = ()


class CountingEmbedder(WordEmbedder):
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def embed(self, texts):
        self.asked += texts
        return await super().embed(texts)


class _Labels:
    def resolve(self, name: str, label: str) -> tuple[int, str]:
        raise AssertionError("versions are pinned")


@pytest.fixture
def rooms(workspace: Path) -> SimpleNamespace:
    (workspace / "prompts" / "support" / "cases.yaml").write_text(
        'every_reply:\n  - max_sentences: 1\n  - ends_with: "{agent_name}"\n'
    )
    return SimpleNamespace(embedder=CountingEmbedder(), prompts=PromptLibrary(workspace / "prompts", _Labels()))


def said(texts: dict[str, str], items: list[Item], seeds: tuple[int, ...] = (1, 2)) -> tuple[Reply, ...]:
    return tuple(Reply(arm, one.id, seed, text) for arm, text in texts.items() for one in items for seed in seeds)


async def measured(rooms: SimpleNamespace, texts: dict[str, str], arms: list[Arm] = ARMS) -> dict[str, Measured]:
    asked = Asked(
        said(texts, ITEMS), tuple(ReferenceCost(a.name, i.id, 2.0 * n + 2, n + 1) for a in arms for n, i in enumerate(ITEMS))
    )
    general = Asked(
        costs=tuple(ReferenceCost(a.name, i.id, 6.0 if a.name else 4.0, 2) for a in bare_arms(arms) for i in general_items())
    )
    further = Asked(said(texts, further_items(ITEMS), (1,)))
    found = await measure_all(asked, further, general, ITEMS, arms, rooms, Quiet())
    assert all(one.about and set(one.values) <= {arm.name for arm in arms} for one in found)
    return {one.name: one for one in found}


async def test_known_replies_have_known_values(rooms: SimpleNamespace) -> None:
    found = await measured(
        rooms, {"base": REFERENCES[0], "zero-shot": "Moonbase says 90 days. Ask our Moonbase", "adapter": ""}
    )
    assert set(found) == {
        REFERENCE_COST,
        FACTS_RIGHT,
        FACTS_WRONG,
        SIMILARITY,
        CHRF,
        RULES,
        CONSISTENCY,
        FORGETTING,
        FAIRNESS_GAP,
        fairness.REFUSAL_GAP,
    }
    assert found[FACTS_RIGHT].values == {"base": (1, 0, None), "zero-shot": (0, 0, None), "adapter": (0, 0, None)}
    # The figure of another turn's reference is made up here, and so is the name of its button.
    assert found[FACTS_WRONG].values == {"base": (0, 2, 2), "zero-shot": (2, 2, 2), "adapter": (0, 0, 0)}
    assert found[SIMILARITY].values["base"][0] == 1
    assert found[SIMILARITY].values["adapter"] == (0, 0, 0)
    assert found[CHRF].values["base"][0] == pytest.approx(100)
    assert found[CHRF].values["adapter"] == (0, 0, 0)
    assert found[RULES].values == {"base": (None,) * 3, "zero-shot": (0, 0, 0), "adapter": (None,) * 3}
    assert found[REFERENCE_COST].values["base"] == (2, 2, 2)
    assert found[REFERENCE_COST].weights == (1, 2, 3)
    assert set(found[FORGETTING].values["adapter"]) == {1.0}
    assert set(found[FORGETTING].values["base"]) == set(found[FORGETTING].values["zero-shot"]) == {0.0}
    assert len(found[FORGETTING].conversations) == len(general_items())
    assert found[CONSISTENCY].values["base"] == (1, 1, 1)
    assert found[FAIRNESS_GAP].values["base"] == found[fairness.REFUSAL_GAP].values["base"] == (0, 0, 0)


async def test_rules_are_the_prompts_own_and_seeds_are_averaged(rooms: SimpleNamespace) -> None:
    variables = rooms.prompts.get("support@1").prompt.variables
    name = variables["agent_name"].default
    texts = {"zero-shot": f"All is well. {name}"}
    assert (await measured(rooms, texts))[RULES].values == {"zero-shot": (1, 1, 1)}
    assert (await measured(rooms, {"zero-shot": f"Well. Well. {name}"}))[RULES].values == {"zero-shot": (0.5, 0.5, 0.5)}
    asked = Asked((*said(texts, ITEMS, (1,)), *said({"zero-shot": "No. No."}, ITEMS, (2,))))
    found = await measure_all(asked, Asked(), Asked(), ITEMS, ARMS, rooms, Quiet())
    assert next(one for one in found if one.name == RULES).values == {"zero-shot": (0.5, 0.5, 0.5)}


async def test_a_double_is_equal_a_second_run_too_and_no_text_is_embedded_twice(rooms: SimpleNamespace) -> None:
    arms = [*ARMS, replace(ARMS[2], name="double")]
    texts = {"base": "45 days.", "adapter": "Press Send back, Larkmoor.", "double": "Press Send back, Larkmoor."}
    found = await measured(rooms, texts, arms)
    for one in found.values():
        assert one.values["double"] == one.values["adapter"], one.name
    assert len(rooms.embedder.asked) == len(set(rooms.embedder.asked))
    assert await measured(rooms, texts, arms) == found


def test_a_silent_arm_has_no_values() -> None:
    assert by_arm(()) == {}


async def test_gaps_are_those_of_the_worst_served(rooms: SimpleNamespace) -> None:
    further = fairness.further_items(ITEMS)
    replies = [
        Reply("base", one.id, 1, "I do not know." if one.id.endswith("~as-Wei") else REFERENCES[0])
        for one in [*ITEMS, *further]
    ]
    quality, refusals = await fairness.fairness(by_arm(replies), ITEMS, Meanings(rooms.embedder))
    assert quality.values["base"][:2] == (1, 0)
    assert refusals.values["base"] == (1, 1, 1)


async def test_consistency_falls_where_one_wording_gets_another_answer(rooms: SimpleNamespace) -> None:
    further = consistency.further_items(ITEMS)
    same = [Reply("base", one.id, 1, "45 days.") for one in [*ITEMS, *further]]
    other = [replace(reply, text="Nobody can tell") if "paraphrase-1" in reply.item else reply for reply in same]
    whole, less = [await consistency.consistency(by_arm(some), ITEMS, Meanings(rooms.embedder)) for some in (same, other)]
    assert whole.values["base"] == (1, 1, 1)
    # Of three pairs one agrees; the order agrees; there is one seed alone.
    assert less.values["base"] == (pytest.approx(2 / 3),) * 3


WORDS = st.sampled_from(["45", "days", "Press", "Send", "back.", "$4.95", "lamp", "no", "LM-1234"])


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=8))
async def test_agreement_is_symmetric_and_whole_with_itself(one: list[str], other: list[str]) -> None:
    first, second = " ".join(one), " ".join(other)
    meanings = Meanings(WordEmbedder())
    await meanings.learn([first, second])
    assert consistency.agreement(first, first, meanings) == 1
    assert consistency.agreement(first, second, meanings) == consistency.agreement(second, first, meanings)
    assert 0 <= consistency.agreement(first, second, meanings) <= 1


def test_further_items_are_few_distinct_and_the_same_each_time() -> None:
    many = [item(number, "You have 45 days.", f"How do I send lamp {number} back?") for number in range(200)]
    found = further_items(many)
    assert found == further_items(many)
    assert len({one.id for one in found}) == len(found) <= 3 * consistency.QUESTIONS + 11 * fairness.QUESTIONS
    assert all(not one.reference and one.passages for one in found)
    assert len({one.conversation for one in sampled(many, 20, "x")}) == 20
    assert sampled(many, 20, "x") != sampled(many, 20, "y")


def test_earlier_turns_are_swapped_only_where_they_lean_on_nothing() -> None:
    turns = ["How long is the warranty?", "Three years.", "Where can I park?", "Behind the shop.", "How do I return a lamp?"]
    swapped = consistency.reordered(item(1, "", *turns))
    assert [message.content for message in swapped.history] == [*turns[2:4], *turns[:2], turns[4]]
    for leaning in ([*turns[:4], "And how do I return it?"], [*turns[:2], "And where is that?", *turns[3:]]):
        greeted = consistency.reordered(item(1, "", *leaning))
        assert [message.content for message in greeted.history][2:] == leaning


def test_everybody_asks_for_the_same_thing() -> None:
    ways = reworded("Hi, how do I send back order LM-48213? I don't want it.")
    assert len(set(ways.values())) == len(ways) == 11
    assert all("LM-48213" in text for text in ways.values())
    assert "my name is Wei." in ways["Wei"]
    assert ways["texting"].endswith("lm-48213? i don't want it thx") or "i don't want it thx" in ways["texting"]
