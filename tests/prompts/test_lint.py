"""Advice: every rule is found where it is broken, and what ships is clean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from bot.prompts.cases import Cases, read_cases
from bot.prompts.lint import lint
from bot.prompts.role_rules import rules_of
from bot.prompts.schema import Prompt, parse_prompt
from bot.skeleton import SOURCE
from bot.skeleton.templates import FOLDER, get_template, template_names
from bot.types import Message
from tests.conftest import ROOT

GOOD: dict[str, Any] = {
    "technique": "zero-shot", "role": "Answer the customer.", "author": "a", "note": "n", "date": "2026-11-20",
}  # fmt: skip
RULES = Cases.model_validate({"every_reply": [{"max_sentences": 1}, {"contains": "{who}"}]})


def example(customer: str, agent: str) -> dict[str, str]:
    return {"customer": customer, "agent": agent, "source": "made up"}


async def rules(changes: dict[str, Any], cases: Cases = Cases(), **more: Any) -> set[tuple[str, str]]:
    return {(finding.rule, finding.place) for finding in await lint(Prompt.model_validate(GOOD | changes), cases, **more)}


@pytest.mark.parametrize(
    ("changes", "rule", "place"),
    [
        ({"variables": {"x": {"description": "d", "default": "e"}}}, "unused variable", "variables.x"),
        ({"variables": {"x": {"description": "d"}}, "role": "Answer {x}."}, "must be given", "variables.x"),
        (
            {"variables": {"x": {"description": "d", "default": "e", "required": True}}, "role": "Answer {x}."},
            "must be given",
            "variables.x",
        ),
        ({"role": "You are Wren."}, "no goal", "role"),
        ({"role": ""}, "no goal", "role"),
        ({"role": "Answer.\nTry to be quick."}, "vague", "role, line 2, column 1"),
        ({"role": "Answer " + "and so it goes with this " * 12}, "over-long", "role"),
        ({"role": "Answer this. " * 200}, "over-long", "role"),
        ({"technique": "chain-of-thought"}, "reasoning", "role"),
        (
            {
                "technique": "chain-of-thought",
                "role": "Answer. <think> first.",
                "examples": [example("hi", "<think>So.</think> Hello."), example("bye", "Bye.")],
            },
            "reasoning",
            "examples[2].agent",
        ),
        ({"role": "Answer in <think> first."}, "reasoning", "role, line 1, column 11"),
        ({"role": "Answer. The password is hunter2!"}, "secret", "role, line 1, column 13"),
        ({"role": "Answer. Use sk-live-abcdefghij0123456789."}, "secret", "role, line 1, column 13"),
        ({"role": "Answer. Mail jo.doe@example.org."}, "personal data", "role, line 1, column 14"),
        ({"role": "Answer.<|im_end|>"}, "control token", "role, line 1, column 8"),
        ({"examples": [example("hi", "</s>")]}, "control token", "examples[1].agent, line 1, column 1"),
        (
            {
                "examples": [
                    example("How many days for a return?", "45 days."),
                    example("how many days for return", "30 days."),
                ]
            },
            "contradiction",
            "examples[2]",
        ),
        ({"examples": [example("Where?", "Here."), example("where?", "There.")]}, "contradiction", "examples[2]"),
        ({"examples": [example("parcel lost", "A."), example("parcel lost", "A.")]}, "twice", "examples[2]"),
    ],
)
async def test_every_rule_is_found_where_it_is_broken(changes: dict[str, Any], rule: str, place: str) -> None:
    found = await rules(changes)
    assert (rule, place) in found


async def test_the_cases_are_held_against_examples_and_variables() -> None:
    who = {"variables": {"who": {"description": "d", "default": "Wren"}}, "role": "Answer as {who}."}
    found = await rules(who | {"examples": [example("hi", "One. Two. {who}.")]}, RULES)
    assert ("breaks the rules", "examples[1].agent") in found
    assert ("undeclared variable", "cases.yaml") in await rules({}, RULES)
    assert not await rules(who | {"examples": [example("hi", "Hello from {who}.")]}, RULES)


@pytest.mark.parametrize(
    ("role", "held", "against"),
    [
        ("Answer in at most two sentences.", "One. Two.", "One. Two. Three."),
        (
            "Answer only from the\nknowledge below, in one or two short sentences, like the examples.",
            "One. Two.",
            "One. Two. Three.",
        ),
        ("Answer.\n- Keep every reply to one sentence.\n- Be kind.", "Here it is.", "Here. There."),
        ("Answer. No more than 2 sentences per reply.", "One. Two.", "One. Two. Three."),
        ('Answer in one sentence. End every reply with "Yours, {who}".', "Here it is. Yours, Wren", "Here it is."),
        ("Answer. Never promise a refund.", "I cannot promise a refund.", "I promise you a full refund."),
        ("Answer. Never promise refunds.", "You will get a refund if it is broken.", "You will get your refund."),
        (
            "Answer as {who}, only from the knowledge below, in one sentence.",
            "Hi Anna,\n\nIt is here.",
            "It is here. It is.",
        ),
        ("If all is well, be brief. Keep every reply to one sentence.", "It is here.\n\n{who}", "It is here. It is."),
        ('Answer. Never use the word "fine".', "We will define it.", "That is Fine."),
        ('Answer. Never say "no problem".', "There is no charge for that.", "Sure, no problem."),
        ("Answer. Do not use exclamation marks.", "Here it is.", "Here it is!"),
        ('Answer. Every reply must contain "order".', "Your order is here.", "It is here."),
    ],
)
async def test_an_example_may_not_break_what_the_role_says(role: str, held: str, against: str) -> None:
    who = {"variables": {"who": {"description": "d", "default": "Wren"}}} if "{who}" in role + held else {}
    assert not await rules({"role": role, "examples": [example("hi", held)], **who})
    prompt = Prompt.model_validate(
        {**GOOD, "role": role, "examples": [example("hi", held), example("well?", against)], **who}
    )
    (finding,) = await lint(prompt, Cases())
    assert (finding.rule, finding.place) == ("breaks the rules", "examples[2].agent")
    assert finding.severity == ("warning" if "promise" in role else "error")
    assert finding.what.startswith("The role says “")


@pytest.mark.parametrize(
    "role",
    [
        "If nothing is known, answer in one sentence.", "Answer the first question in one sentence.",
        "Summarise the problem in one sentence, then answer.", "Answer in one sentence per question.",
        "Answer.\n\nWhere somebody is angry:\n- Answer in one sentence.\n- Never say \"no problem\".",
        "Answer yes-or-no questions in one sentence.", "Reply to greetings in one sentence.",
        "Answer refund questions in two sentences.", "Answer each question in one sentence.",
        "Angry customers:\n- Answer in one sentence.", "Angry customers:\nHello there. Answer in one sentence.",
        "Angry customers\n\n- Be kind.\n- Answer in one sentence.", "- Angry customers:\n  - Answer in one sentence.",
        "# Angry customers\nBe kind.\n\nAnswer in one sentence.", "**Angry customers**\n\nBe kind.\n\nAnswer in one sentence.",
        "Where somebody is angry, be kind. Answer in one sentence.", "Angry customers: be kind. Answer in one sentence.",
        "Answer. Never say \"no\".", "Answer. Always greet the customer.", "Answer. Never say \"no\" without a reason.", "Answer. Never promise a refund before the lamp is back.",
        "Answer. Try to keep every reply to one sentence.", "Answer. Say \"hello\" or \"hi\".", "Answer in 0 sentences.",
    ],
)  # fmt: skip
async def test_what_may_hold_for_some_replies_only_is_no_rule(role: str) -> None:
    assert not rules_of(role)


@pytest.mark.parametrize(
    ("role", "reply"),
    [
        ("Answer. Never promise a refund.", "You will receive the refund form by e-mail today."),
        ("Answer. Never promise a refund.", "Send it back and you will get a refund."),
        ("Answer. Never promise a refund.", "You will get a refund as long as it is broken."),
        ('Answer. Never say "no".', "There is no charge for that."),
        ("Answer. Always greet the customer.", "Guten Tag! Die Lampe ist da."),
    ],
)
async def test_a_reply_that_need_not_break_a_rule_is_not_told_of(role: str, reply: str) -> None:
    assert not await rules({"role": role, "examples": [example("hi", reply)]})


@pytest.mark.parametrize(
    "role",
    [
        f'Answer. End every reply with "{"x" * 2001}".',
        "Answer. No more than ſix sentences per reply.",
        f'Answer. Never say "{"x " * 9_000}',
    ],
)
async def test_what_is_no_assertion_is_no_rule(role: str) -> None:
    assert not rules_of(role)
    assert not [
        finding
        for finding in await lint(Prompt.model_validate(GOOD | {"role": role}), Cases())
        if finding.severity == "error"
    ]


async def test_what_the_cases_ask_for_already_is_told_once() -> None:
    role = {"role": "Answer as {who} in one sentence.", "variables": {"who": {"description": "d", "default": "Wren"}}}
    prompt = Prompt.model_validate({**GOOD, **role, "examples": [example("hi", "{who}. It is here. Well.")]})
    (finding,) = await lint(prompt, RULES)
    assert "cases.yaml" in finding.what


async def test_reasoning_is_no_part_of_the_reply() -> None:
    role = {"technique": "chain-of-thought", "role": "Reason in <think> tags. Answer in one sentence."}
    assert not await rules({**role, "examples": [example("hi", "<think>One. Two.</think> Here it is.")]})
    (broken,) = await rules({**role, "examples": [example("hi", "<think>One.</think> Here it is. And there.")]})
    assert broken == ("breaks the rules", "examples[1].agent")


async def test_a_hundred_long_examples_are_read_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = re.findall

    def counting(pattern: str, text: str) -> list[str]:
        read.append(text)
        return real(pattern, text)

    monkeypatch.setattr("bot.prompts.lint.re.findall", counting)
    many = [example(f"Where is my parcel number {n}?", "On its way.") for n in range(100)]
    await rules({"examples": many})
    assert len(read) < 1000


async def test_more_than_half_of_the_context_is_told() -> None:
    found = await rules({}, count=lambda messages: 100, context=150)
    assert ("context", "role") in found
    assert not await rules({}, count=lambda messages: 100, context=300)


async def test_a_budget_for_examples_counts_as_far_as_there_are_examples_to_fill_it() -> None:
    def count(messages: Sequence[Message]) -> int:
        return sum(len(message.content.split()) for message in messages)

    short, long = ({"examples": [example("hi", "well " * words)]} for words in (10, 90))
    budget = {"select": {"tokens": 60}}
    assert not await rules(short | budget, count=count, context=100)
    assert ("context", "examples") in await rules(long | budget, count=count, context=100)
    assert not await rules(long | budget, count=count, context=140)


@pytest.mark.parametrize("name", template_names())
async def test_templates_are_clean(name: str) -> None:
    prompt, _ = get_template(name)
    assert await lint(prompt, read_cases(FOLDER / name)) == []
    assert read_cases(FOLDER / name).cases


async def test_what_ships_has_no_error_in_its_newest_version() -> None:
    for workspace in (ROOT, SOURCE):
        for folder in (workspace / "prompts").iterdir():
            versions = sorted(folder.glob("v*.yaml"))
            if versions:
                findings = await lint(parse_prompt(versions[-1].read_text()), read_cases(folder))
                assert not [finding for finding in findings if finding.severity == "error"], folder
