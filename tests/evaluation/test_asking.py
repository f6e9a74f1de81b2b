"""Asking arms: what they are sent is what the agent sends, the numbers repeat, and what cannot answer is told."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from bot.base import Base
from bot.desk import Desk
from bot.engine.local.engine import LocalEngine
from bot.engine.scripted import ScriptedEngine
from bot.errors import NotAvailable, NotFound, SettingsError
from bot.evaluation.arms import Arm, Parts, all_arms
from bot.evaluation.asking import Asked, ask, own_seed
from bot.evaluation.items import Item
from bot.evaluation.measures.further import asked_as
from bot.evaluation.replies import Reply
from bot.evaluation.rooms import exact
from bot.runs.progress import Quiet, Step
from bot.settings import Settings, load
from bot.types import AgentSpec, Message, Mix, Passage, Turn
from tests.conftest import Ear, WordEmbedder, make_adapter, make_soft_prompt

PASSAGES = (Passage("hours#1", "Opening hours", "We are open from 9:00 to 17:00.", "hours"),)


def item(number: int, turns: int = 1, reference: str = "We are open from 9:00.") -> Item:
    """The last of so many turns of a conversation."""
    history = []
    for turn in range(turns):
        history += [Message("user", f"When are you open on day {turn} of week {number}?"), Message("assistant", "At nine.")]
    passages = PASSAGES if number % 2 else ()
    return Item(f"c{number}/{2 * turns - 1}", f"c{number}", tuple(history[:-1]), reference, passages)


ITEMS = [item(number, 1 + number % 3) for number in range(7)]


@pytest.fixture
def places(workspace: Path, tiny_base: Base, steps: str) -> Path:
    """A workspace with a LoRA, another, a soft prompt, and prompts of every technique that answer shortly."""
    prompts = workspace / "prompts"
    for path in prompts.rglob("v1.yaml"):
        path.write_text(path.read_text().replace("max_tokens: 120", "max_tokens: 7"))
    text = (prompts / "support" / "v1.yaml").read_text()
    (prompts / "few").mkdir()
    few = text.replace("zero-shot", "few-shot").replace(
        "examples: []", "examples:\n  - {customer: hi, agent: Hello., source: written for a test}"
    )
    (prompts / "few" / "v1.yaml").write_text(few)
    (prompts / "warm").mkdir()
    (prompts / "warm" / "v1.yaml").write_text(text.replace("temperature: 0.0", "temperature: 1.0"))
    for name, seed in (("returns", 1), ("tone", 2)):
        make_adapter(tiny_base, workspace / "adapters" / name / "v1", seed)
    make_soft_prompt(tiny_base, workspace / "adapters" / "soft" / "v1", 3)
    return workspace


@pytest.fixture
def settings(places: Path, tiny_base: Base) -> Settings:
    return exact(load(workspace=places, base=str(tiny_base.path), dtype="bfloat16", threshold=0.2))


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    made = Desk(settings)
    made.embedder = WordEmbedder()
    yield made
    await made.close()


PARTS = Parts("support@1", "few@1", "steps@1", "returns@1*0.7+tone@1*0.5", "support@1", "soft@1", "support@1", "articles")
ARMS = all_arms(PARTS, {})
SOME = ARMS[::2]
"""Every way once, three of them with knowledge."""
WARM = Arm("warm", "prompt+adapter", AgentSpec("returns@1+soft@1", "warm@1"))


def repeatable(asked: Asked) -> object:
    bare = [(r.arm, r.item, r.seed, r.text, r.reasoning, r.finish_reason, r.completion_tokens) for r in asked.replies]
    return bare, asked.costs, asked.failures, asked.notes


async def test_the_numbers_repeat_whatever_was_asked_before_and_in_which_order(desk: Desk) -> None:
    arms, items = [*SOME, WARM], ITEMS[:5]
    first = await ask(arms, items, (1, 2), desk, Quiet())
    assert (len(first.replies), len(first.costs), first.failures) == (8 * 5 * 2, 8 * 5, ())
    assert repeatable(await ask(arms, items, (1, 2), desk, Quiet())) == repeatable(first)
    again = await ask(arms[::-1], items[::-1], (1, 2), desk, Quiet())
    assert set(again.costs) == set(first.costs)
    assert {r.item: r.text for r in again.replies if r.arm == "base"} == {
        r.item: r.text for r in first.replies if r.arm == "base"
    }
    seeds = [{(r.item, r.text) for r in first.replies if (r.arm, r.seed) == ("warm", seed)} for seed in (1, 2)]
    assert not seeds[0] & seeds[1]
    assert len({cost.nats for cost in first.costs if cost.item == ITEMS[1].id}) >= 7, "the arms must differ"


async def test_each_item_has_draws_of_its_own_and_all_arms_the_same(desk: Desk) -> None:
    twins = [dataclasses.replace(ITEMS[0], id=name, conversation=name) for name in ("one", "twin")]
    asked = await ask([WARM, dataclasses.replace(WARM, name="again")], twins, (1,), desk, Quiet())
    said = {(reply.arm, reply.item): reply.text for reply in asked.replies}
    assert said["warm", "one"] != said["warm", "twin"]
    again = asked_as(twins[0], "again", twins[0].question)
    assert own_seed(again, 1) == own_seed(twins[0], 1)
    assert [said["again", item] for item in ("one", "twin")] == [said["warm", item] for item in ("one", "twin")]


async def test_an_arms_decoding_goes_before_its_prompts(desk: Desk) -> None:
    decoding = {"max_tokens": 3, "temperature": 0.0}
    arms = [Arm(name, "base", AgentSpec("", prompt), decoding) for name, prompt in (("bare", ""), ("warm", "warm@1"))]
    asked = await ask(arms, ITEMS[:2], (1, 2), desk, Quiet())
    assert not asked.failures
    assert {reply.completion_tokens for reply in asked.replies} <= {1, 2, 3}
    texts = [[reply.text for reply in asked.replies if reply.seed == seed] for seed in (1, 2)]
    assert texts[0] == texts[1], "nothing is drawn"


async def test_what_is_asked_is_what_the_agent_answers_and_nothing_is_recorded(
    desk: Desk, tiny_base: Base, tmp_path: Path
) -> None:
    desk.engine = LocalEngine(tiny_base, "float64")
    arms = [*SOME, WARM]
    asked = await ask(arms, ITEMS[:4], (4, 5), desk, Quiet())
    with pytest.raises(NotFound):
        desk.journal.turn(1)
    replies = {(reply.arm, reply.item, reply.seed): reply for reply in asked.replies}
    costs = {(cost.arm, cost.item): cost for cost in asked.costs}
    for arm in arms:
        for one in ITEMS[:4]:
            passages = one.passages if arm.with_knowledge else None
            answer = await desk.agent.ainvoke(Turn(one.history, arm.spec, seed=own_seed(one, 5), passages=passages))
            reply = replies[arm.name, one.id, 5]
            assert (reply.text, reply.prompt_tokens) == (answer.reply, answer.usage.prompt_tokens), arm.name
            assert reply.completion_tokens == answer.usage.completion_tokens
            scores = await desk.engine.score(answer.exchange.messages, one.reference, desk.adapters.mix(arm.spec.adapters))
            cost = costs[arm.name, one.id]
            assert (cost.nats, cost.tokens) == (pytest.approx(-sum(scores)), len(scores)), arm.name


class Told(ScriptedEngine):
    """Keeps what was scored."""

    def __init__(self, context: int = 100_000) -> None:
        super().__init__(context=context)
        self.scored: list[tuple[str, str]] = []

    async def score(self, messages: Sequence[Message], reply: str, mix: Mix) -> list[float]:
        self.scored.append((messages[-1].content, reply))
        return await super().score(messages, reply, mix)


async def test_a_reference_stands_behind_the_arms_own_reasoning(desk: Desk) -> None:
    engine = Told()
    desk.engine = engine
    # Items are asked in the order of their size: the shorter history first.
    engine.enqueue("<think>passage 1</think>\nAt nine.", "<think>never closed")
    asked = await ask([ARMS[3]], [item(1, 2), item(0)], (1, 2), desk, Quiet())
    assert [(r.item, r.seed, r.text, r.reasoning) for r in asked.replies] == [
        ("c1/3", 1, "", "never closed"), ("c1/3", 2, "", "never closed"),
        ("c0/1", 1, "At nine.", "passage 1"), ("c0/1", 2, "At nine.", "passage 1"),
    ]  # fmt: skip
    said = "We are open from 9:00."
    assert {reply for _, reply in engine.scored if reply.endswith(said)} == {
        f"<think>passage 1</think>\n{said}",
        f"<think>never closed</think> {said}",
    }
    assert [cost.tokens for cost in asked.costs] == [len(said.split()) + 1] * 2


class Opening(Told):
    async def opens_reasoning(self) -> bool:
        return True


async def test_reasoning_that_the_bases_template_opened_is_no_part_of_any_arms_reply(desk: Desk) -> None:
    engine = Opening()
    desk.engine = engine
    engine.enqueue("passage 1</think>\nAt nine.", "never closed")
    asked = await ask([ARMS[0]], [item(1, 2), item(0)], (1,), desk, Quiet())
    assert {(r.item, r.text, r.reasoning) for r in asked.replies} == {
        ("c1/3", "", "never closed"), ("c0/1", "At nine.", "passage 1")
    }  # fmt: skip
    said = "We are open from 9:00."
    behind = {reply for _, reply in engine.scored if reply.endswith(said)}
    assert behind == {f"passage 1</think>\n{said}", f"never closed</think> {said}"}


async def test_arms_that_cannot_answer_are_told_with_their_reason_and_the_others_go_on(desk: Desk) -> None:
    weights = desk.settings.workspace / "adapters" / "tone" / "v1" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    arms = [
        *all_arms(Parts(zero_shot="support@1"), {}),
        Arm("prompt+adapter2", "prompt+adapter", AgentSpec("tone@1", "gone@1")),
    ]
    arms += [Arm("other", "zero-shot", AgentSpec("", "gone@1")), Arm("broken", "adapter", AgentSpec("tone@1"))]
    heard = Ear()
    asked = await ask(arms, ITEMS[:2], (1,), desk, heard)
    reasons = {failure.arm: failure.reason for failure in asked.failures}
    assert {arm.name for arm in arms} - set(reasons) == {"base", "zero-shot"} == {reply.arm for reply in asked.replies}
    assert reasons["few-shot"].startswith("There is no prompt for it.")
    assert reasons["prompt+adapter"].startswith("There is no adapter and no prompt for it.")
    assert reasons["soft-prompt+knowledge"].startswith("There is no soft prompt and no prompt and no knowledge for it.")
    assert "support" in reasons["other"]
    assert "tone" in reasons["broken"]
    assert len(heard.notes) == len(reasons)
    assert (heard.steps[-1].done, heard.steps[-1].total) == (len(arms) * 4, len(arms) * 4)
    done = [step.done for step in heard.steps]
    assert done == sorted(done)


async def test_an_error_while_it_answers_is_its_arms_alone(desk: Desk) -> None:
    class Broken(ScriptedEngine):
        async def score(self, messages: Sequence[Message], reply: str, mix: Mix) -> list[float]:
            if mix.parts:
                raise RuntimeError("no memory")
            raise NotAvailable("This engine scores nothing.")

    desk.engine = Broken()
    asked = await ask([ARMS[0], ARMS[4]], ITEMS[:2], (1,), desk, Quiet())
    assert [(failure.arm, failure.reason) for failure in asked.failures] == [("adapter", "no memory")]
    assert [reply.arm for reply in asked.replies] == ["base", "base"]
    assert asked.costs == ()
    assert asked.notes == ("base: 2 of 2 turns are not scored, c0/1 for one: This engine scores nothing.",)


async def test_oldest_exchanges_go_and_what_cannot_be_read_is_left_out_and_told(desk: Desk) -> None:
    exchanges = [m for number in range(60) for m in (*item(number).history, Message("assistant", "ok"))]
    many = Item("long/119", "long", tuple(exchanges[:-1]), "yes")
    huge = Item("huge/1", "huge", (Message("user", "word " * 700),), "yes")
    late = Item("late/1", "late", (Message("user", "hello"),), "word " * 600)
    asked = await ask(ARMS[:2], [many, huge, late, ITEMS[0]], (1,), desk, Quiet())
    answered: list[Reply] = [reply for reply in asked.replies if reply.arm == "base"]
    assert [reply.item for reply in answered] == ["long/119", "late/1", "c0/1"]
    assert 200 < answered[0].prompt_tokens < 512
    assert [cost.item for cost in asked.costs if cost.arm == "base"] == ["long/119", "c0/1"]
    assert any(note.startswith("base: 1 of 4 turns are not answered, huge/1 for one:") for note in asked.notes)
    assert any(note.startswith("base: 2 of 4 turns are not scored, huge/1 for one:") for note in asked.notes)


async def test_items_without_a_reference_are_answered_and_not_scored(desk: Desk) -> None:
    asked = await ask(ARMS[:1], [item(1, reference="")], (1,), desk, Quiet())
    assert (len(asked.replies), asked.costs) == (1, ())
    assert await ask(ARMS[:1], [], (1,), desk, Quiet()) == Asked((), (), ())


async def test_another_precision_is_refused(places: Path, tiny_base: Base) -> None:
    desk = Desk(load(workspace=places, base=str(tiny_base.path), dtype="bfloat16"))
    with pytest.raises(SettingsError, match="compared in float32"):
        await ask(ARMS, ITEMS, (1,), desk, Quiet())
    await desk.close()


async def test_cancelling_stops_within_steps(desk: Desk) -> None:
    begun = asyncio.Event()

    class Waiting(Ear):
        def step(self, step: Step) -> None:
            begun.set()

    task = asyncio.create_task(ask(ARMS, [item(number) for number in range(300)], (1,), desk, Waiting()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.wait_for(desk.engine.score([Message("user", "hello")], "yes", Mix()), 5)
