"""One message's way: what is resolved, sent, recorded, and what happens when it goes wrong."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from bot.agent import Answer
from bot.desk import Desk
from bot.engine.scripted import ScriptedEngine
from bot.errors import BotError, DeadlinePassed, InvalidMessage, NotFound
from bot.types import AgentSpec, Message, Passage, Turn

SPEC = AgentSpec("", "support@production", "articles")


def asked(text: str, spec: AgentSpec = SPEC, **more: object) -> Turn:
    return Turn((Message("user", text),), spec, **more)  # type: ignore[arg-type]


def engine_of(desk: Desk) -> ScriptedEngine:
    assert isinstance(desk.engine, ScriptedEngine)
    return desk.engine


async def under_way(desk: Desk) -> None:
    """Until some pieces of a reply may have come, however busy the machine is."""
    async with asyncio.timeout(30):
        while not engine_of(desk).calls:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)


async def test_a_turn_is_searched_rendered_generated_and_recorded(desk: Desk) -> None:
    engine_of(desk).enqueue("From 9:00 to 17:00.")
    answer = await desk.agent.ainvoke(asked("When is the help desk open on weekdays?", seed=3))
    assert answer.reply == "From 9:00 to 17:00."
    assert answer.passages[0].article == "opening-hours"
    call = engine_of(desk).calls[-1]
    assert "[1] Opening hours" in call.messages[0].content
    assert (call.seed, call.sampling.max_tokens) == (3, 120)
    turn = desk.journal.turn(answer.turn_id)
    assert (turn.prompt, turn.finish_reason, turn.reply) == ("support@1", "stop", answer.reply)
    assert turn.messages[0]["content"] == call.messages[0].content
    assert {"resolve_ms", "load_ms", "search_ms", "render_ms", "first_token_ms", "total_ms"} <= set(turn.timings)
    assert turn.passages[0]["score"] == answer.passages[0].score
    assert len(turn.agent_hash) == 64


class Loading(ScriptedEngine):
    """One that loads its base at the first turn."""

    async def opens_reasoning(self) -> bool:
        await asyncio.sleep(0.5)
        return False


async def test_loading_the_base_is_no_part_of_the_search(desk: Desk) -> None:
    desk.engine = Loading()
    turn = desk.journal.turn((await desk.agent.ainvoke(asked("hours?", AgentSpec("", "support@1")))).turn_id)
    assert turn.timings["load_ms"] > 450
    assert turn.timings["search_ms"] < 450


async def test_the_agents_hash_changes_with_each_part(desk: Desk) -> None:
    async def hash_of(spec: AgentSpec) -> str:
        answer = await desk.agent.ainvoke(asked("hours?", spec))
        return desk.journal.turn(answer.turn_id).agent_hash

    first = await hash_of(SPEC)
    assert await hash_of(SPEC) == first
    assert await hash_of(AgentSpec("", "", "articles")) != first
    assert await hash_of(AgentSpec("", "support@1", "")) != first
    (desk.settings.workspace / "knowledge" / "articles" / "new.md").write_text(
        "---\ntitle: New\ndomain: d\nupdated: 2026-01-01\n---\n# New\ntext\n"
    )
    assert await hash_of(SPEC) != first


async def test_nothing_relevant_is_said_in_the_prompt(desk: Desk) -> None:
    await desk.agent.ainvoke(asked("zebra quantum"))
    assert "no article matches" in engine_of(desk).calls[-1].messages[0].content


async def test_given_passages_are_used_instead_of_a_search(desk: Desk) -> None:
    answer = await desk.agent.ainvoke(asked("anything", passages=(Passage("x#1", "Given", "This one.", "x"),)))
    assert [p.id for p in answer.passages] == ["x#1"]
    assert "Given: This one." in engine_of(desk).calls[-1].messages[0].content


async def test_a_reader_who_leaves_ends_the_reply_and_it_is_recorded(desk: Desk) -> None:
    engine_of(desk).enqueue("one two three four five")
    answer = Answer()
    async with aclosing(desk.agent.answer(asked("count"), answer)) as pieces:
        assert (await anext(pieces)).text == "one "
    turn = desk.journal.turn(answer.turn_id)
    assert (turn.reply, turn.finish_reason) == ("one ", "cancelled")
    assert engine_of(desk).finished[-1] == "cancelled"


async def test_a_reply_ends_at_its_deadline_and_frees_its_engine(desk: Desk) -> None:
    await desk.agent.ainvoke(asked("the index is made"))
    engine, desk.agent.deadline = engine_of(desk), 1.0
    engine.delay = 0.4
    engine.enqueue("one two three four five")
    answer = await desk.agent.ainvoke(asked("count"))
    assert answer.reply.startswith("one ")
    assert "five" not in answer.reply
    assert (answer.finish_reason, engine.finished[-1]) == ("deadline", "cancelled")
    assert answer.usage.completion_tokens == len(answer.reply.split())
    assert answer.usage.prompt_tokens > 0
    engine.delay = 2
    with pytest.raises(DeadlinePassed, match="within 1 seconds"):
        await desk.agent.ainvoke(asked("count"))


async def test_a_cancelled_task_is_recorded_too(desk: Desk) -> None:
    engine_of(desk).delay = 0.05
    task = asyncio.create_task(desk.agent.ainvoke(asked("a b c d e f g")))
    await under_way(desk)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine_of(desk).finished[-1] == "cancelled"
    assert desk.journal.turn(1).finish_reason == "cancelled"


@pytest.mark.parametrize(
    ("spec", "listed"),
    [
        (AgentSpec("", "suport"), "support"),
        (AgentSpec("", "support@7"), "support@1"),
        (AgentSpec("refunds", ""), "none yet"),
        (AgentSpec("", "", "artikles"), "articles"),
    ],
)
async def test_unknown_names_list_what_exists_and_the_question_is_kept(desk: Desk, spec: AgentSpec, listed: str) -> None:
    answer = Answer()
    with pytest.raises(NotFound, match=listed):
        _ = [p async for p in desk.agent.answer(asked("hello", spec), answer)]
    turn = desk.journal.turn(answer.turn_id)
    assert (turn.question, turn.finish_reason) == ("hello", "error")
    assert listed in turn.error


@pytest.mark.parametrize("text", ["", "  \n", "x" * 100_000, "bad \udcff surrogate"])
async def test_messages_that_cannot_be_read_are_refused_and_recorded(desk: Desk, text: str) -> None:
    answer = Answer()
    with pytest.raises(InvalidMessage):
        _ = [p async for p in desk.agent.answer(asked(text), answer)]
    assert desk.journal.turn(answer.turn_id).finish_reason == "error"
    assert not engine_of(desk).calls


@pytest.mark.parametrize(
    "given", [{"temperature": 5}, {"max_tokens": 0}, {"max_tokens": 10**9}, {"stop": ["a"] * 99}, {"top_p": 0}]
)
async def test_sampling_out_of_range_is_refused(desk: Desk, given: dict[str, object]) -> None:
    with pytest.raises(BotError, match=next(iter(given)).split("_")[0]):
        await desk.agent.ainvoke(asked("hello", sampling=given))


def test_the_agent_is_a_runnable(desk: Desk) -> None:
    engine_of(desk).enqueue("one two", "three")
    assert "".join(p.text for p in desk.agent.stream(asked("hello"))) == "one two"
    assert (desk.agent | (lambda answer: answer.reply.upper())).invoke(asked("hello")) == "THREE"


async def test_the_oldest_exchanges_give_way_where_the_engine_cannot_read_all(desk: Desk) -> None:
    engine_of(desk).context = 260
    said = [
        Message("system", "stay"),
        *(Message(role, f"{role} {n} " + "word " * 20) for n in range(6) for role in ("user", "assistant")),
    ]  # type: ignore[arg-type]
    turn = Turn((*said, Message("user", "last question")), AgentSpec("", "support@1"), sampling={"max_tokens": 100})
    await desk.agent.ainvoke(turn)
    sent = [m.content.strip() for m in engine_of(desk).calls[-1].messages]
    assert sent[-1] == "last question"
    assert sent[1] == "stay"
    assert sent[2].startswith("user ")
    assert not any(text.startswith("user 0") for text in sent)
    assert any(text.startswith("user 5") for text in sent)
    assert engine_of(desk).count(engine_of(desk).calls[-1].messages) <= 160


async def test_a_question_that_fills_the_engine_alone_is_still_sent(desk: Desk) -> None:
    engine_of(desk).context = 10
    await desk.agent.ainvoke(Turn((Message("user", "a"), Message("assistant", "b"), Message("user", "c")), AgentSpec()))
    assert [m.content for m in engine_of(desk).calls[-1].messages] == ["c"]


async def test_long_texts_give_way_too(desk: Desk) -> None:
    said = [Message(role, f"{n} " + "x" * 7500) for n in range(14) for role in ("user", "assistant")]  # type: ignore[arg-type]
    await desk.agent.ainvoke(Turn((*said, Message("user", "last question")), AgentSpec()))
    sent = [m.content for m in engine_of(desk).calls[-1].messages]
    assert sent[-1] == "last question"
    assert sent[0].startswith("8 ")
    assert 85_000 < sum(map(len, sent)) <= 100_000


async def test_a_reply_whose_record_fails_is_still_a_reply(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(desk.journal, "record", fail)
    answer = await desk.agent.ainvoke(asked("hello"))
    assert answer.reply
    assert answer.turn_id == 0


def test_synchronous_batches_run(desk: Desk) -> None:
    answers = desk.agent.batch([asked(f"When is the help desk open on weekdays? {n}") for n in range(4)])
    assert all(answer.passages for answer in answers)


REASONED = "<think>Asked: hours. [1] says it.</think> From 9:00 to 17:00."


async def test_reasoning_is_recorded_and_not_shown(desk: Desk, steps: str) -> None:
    engine_of(desk).enqueue(REASONED)
    answer = Answer()
    turn = asked("When is the help desk open?", AgentSpec("", steps, "articles"))
    shown = [piece async for piece in desk.agent.answer(turn, answer)]
    assert "".join(piece.text for piece in shown) == answer.reply == "From 9:00 to 17:00."
    assert answer.reasoning == "Asked: hours. [1] says it."
    assert shown[-1].finish_reason == "stop"
    assert answer.usage.completion_tokens == len(REASONED.split())
    recorded = desk.journal.turn(answer.turn_id)
    assert (recorded.reply, recorded.reasoning) == (answer.reply, answer.reasoning)


async def test_reasoning_that_never_ends_leaves_an_empty_reply(desk: Desk, steps: str) -> None:
    engine_of(desk).enqueue(REASONED)
    answer = Answer()
    turn = asked("hours?", AgentSpec("", steps), sampling={"max_tokens": 3})
    shown = [piece async for piece in desk.agent.answer(turn, answer)]
    assert [(piece.text, piece.finish_reason) for piece in shown] == [("", "length")]
    assert (answer.reply, answer.reasoning) == ("", "Asked: hours. [1]")


async def test_a_reader_who_leaves_during_the_reasoning_is_recorded(desk: Desk, steps: str) -> None:
    engine_of(desk).delay = 0.05
    engine_of(desk).enqueue("<think>" + "word " * 50)
    task = asyncio.create_task(desk.agent.ainvoke(asked("hello", AgentSpec("", steps))))
    await under_way(desk)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    turn = desk.journal.turn(1)
    assert (turn.reply, turn.finish_reason) == ("", "cancelled")
    assert turn.reasoning.startswith("word word")


async def test_other_techniques_pass_tags_on(desk: Desk) -> None:
    engine_of(desk).enqueue(REASONED, REASONED)
    for spec in (AgentSpec("", "support@1"), AgentSpec()):
        answer = await desk.agent.ainvoke(asked("hello", spec))
        assert (answer.reply, answer.reasoning) == (REASONED, "")


class Opening(ScriptedEngine):
    """One whose base's chat template opens the reasoning."""

    async def opens_reasoning(self) -> bool:
        return True


@pytest.mark.parametrize("prompt", ["support@1", "", "steps@1"])
async def test_reasoning_that_the_bases_template_opened_is_hidden_whatever_the_prompt(
    desk: Desk, steps: str, prompt: str
) -> None:
    desk.engine = Opening()
    desk.engine.enqueue("Asked: hours. [1] says it.</think> From 9:00 to 17:00.", "Asked and never said")
    answer = await desk.agent.ainvoke(asked("When is the help desk open?", AgentSpec("", prompt)))
    assert (answer.reply, answer.reasoning) == ("From 9:00 to 17:00.", "Asked: hours. [1] says it.")
    cut = await desk.agent.ainvoke(asked("hours?", AgentSpec("", prompt)))
    assert (cut.reply, cut.reasoning) == ("", "Asked and never said")
    with pytest.raises(InvalidMessage, match="logprobs would tell the reasoning"):
        await desk.agent.ainvoke(asked("hours?", AgentSpec("", prompt), sampling={"logprobs": 0}))
