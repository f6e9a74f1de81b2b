"""Advice: every rule is found where it is broken, and what ships is clean."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bot.prompts.cases import Cases, read_cases
from bot.prompts.lint import lint
from bot.prompts.schema import Prompt, parse_prompt
from bot.skeleton import SOURCE
from bot.skeleton.templates import FOLDER, get_template, template_names
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
        ({"role": "You are Wren."}, "no goal", "role"),
        ({"role": ""}, "no goal", "role"),
        ({"role": "Answer.\nTry to be quick."}, "vague", "role, line 2, column 1"),
        ({"role": "Answer " + "and so it goes with this " * 12}, "over-long", "role"),
        ({"role": "Answer this. " * 200}, "over-long", "role"),
        ({"technique": "chain-of-thought"}, "reasoning", "role"),
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
