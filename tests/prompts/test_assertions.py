"""What a reply must hold: each kind holds and fails, patterns cannot hang, and every fault is one sentence."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.prompts.assertions import Assertion, failures, sentences
from bot.types import Passage
from tests.conftest import WordEmbedder

VALUES = {"agent_name": "Wren", "company": "Larkmoor"}
PASSAGES = [Passage("a#1", "Refunds", "A refund takes 6 days.", "a"), Passage("b#1", "Gifts", "A voucher.", "b")]


async def check(given: dict[str, Any], reply: str, *more: dict[str, Any]) -> list[str]:
    assertions = [Assertion.model_validate(one) for one in (given, *more)]
    return await failures(assertions, reply, VALUES, PASSAGES, WordEmbedder())


@pytest.mark.parametrize(
    ("assertion", "holds", "fails"),
    [
        ({"contains": "45 days"}, "You have 45\nDays.", "You have 145 days."),
        ({"contains": "$8"}, "It costs $8.", "It costs $8.50."),
        ({"contains": "5 days"}, "within 5 days", "within 45 days"),
        ({"contains": "don't"}, "We don’t know.", "We do know."),
        ({"contains": "{company} Plus"}, "That is Larkmoor Plus.", "That is Plus."),
        ({"contains": "{{company}}"}, "A literal {company}.", "Larkmoor"),
        ({"not_contains": "refund"}, "A voucher.", "A Refund."),
        ({"regex": r"\bLM-\d{5}\b"}, "Order LM-48213.", "Order LM-4821."),
        ({"regex": r"^{agent_name}:"}, "Wren: hello", "Robin: hello"),
        ({"regex": r"^\p{L}+$"}, "Grüße", "12"),
        ({"max_sentences": 2}, "One. It costs $4.95 a month.", "One. Two! Three?"),
        ({"max_sentences": 1}, "Mr. Smith is here", "First this\nthen that"),
        ({"ends_with": "{agent_name}, {company}"}, "Bye. Wren, Larkmoor\n", "Wren, Larkmoor says bye."),
        ({"cites_passage": True}, "See [2].", "See [3]."),
        ({"cites_passage": True}, "As Refunds says", "As said"),
        ({"json": {"type": "object", "required": ["intent"]}}, '{"intent": "refund"}', '{"label": 1}'),
        ({"json": {"type": "array"}}, "[1]", "Here it is: [1]"),
        ({"label_equals": "refund"}, " Refund.", "refund please"),
        ({"similar": {"to": "the money is on its way", "at_least": 0.9}}, "The money is on its way.", "A lamp."),
    ],
)
async def test_each_kind_holds_and_fails(assertion: dict[str, Any], holds: str, fails: str) -> None:
    assert await check(assertion, holds) == []
    faults = await check(assertion, fails)
    assert len(faults) == 1
    assert faults[0].endswith(".")


async def test_a_signature_that_is_asked_for_is_not_a_sentence() -> None:
    reply = "You have 45 days. Shall I help?\nWren, Larkmoor"
    assert await check({"max_sentences": 2}, reply, {"ends_with": "{agent_name}, {company}"}) == []
    assert await check({"max_sentences": 2}, reply) == ["The reply has 3 sentences; at most 2 are allowed."]


async def test_a_name_that_the_prompt_does_not_know_never_passes_unseen() -> None:
    for kind in ("contains", "not_contains", "ends_with", "label_equals"):
        assert "{shop}" in (await check({kind: "{shop}"}, "Hello"))[0]


async def test_what_cannot_be_told_is_a_failure() -> None:
    similar = [Assertion.model_validate({"similar": {"to": "a", "at_least": 0.5}})]
    assert "embedding" in (await failures(similar, "a", {}, (), None))[0]
    assert "none was shown" in (await failures([Assertion(cites_passage=True)], "[1]", {}, (), None))[0]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, "none"),
        ({"contains": "a", "regex": "b"}, "contains, regex"),
        ({"contain": "a"}, "contain"),
        ({"contains": ""}, "contains"),
        ({"contains": 7}, "contains"),
        ({"max_sentences": "2"}, "max_sentences"),
        ({"max_sentences": 0}, "max_sentences"),
        ({"cites_passage": False}, "cites_passage"),
        ({"regex": "(a"}, "no pattern of RE2"),
        ({"regex": "(?=a)b"}, "no pattern of RE2"),
        ({"regex": r"(a)\1"}, "no pattern of RE2"),
        ({"regex": "(((a{1000}){1000}){1000})"}, "no pattern of RE2"),
        ({"regex": "a" * 501}, "regex"),
        ({"json": {"type": "thing"}}, "no JSON Schema"),
        ({"json": {"$ref": "http://example.com/schema"}}, "cannot be used"),
        ({"json": {"properties": {"a": {"pattern": "(a+)+$"}}}}, "cannot be used"),
        ({"similar": {"to": "a", "at_least": 2}}, "at_least"),
        ({"similar": {"to": "a"}}, "at_least"),
    ],
)
def test_bad_assertions_are_refused_by_name(data: dict[str, Any], named: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ValidationError, match=named):
        Assertion.model_validate(data)
    assert time.perf_counter() - start < 0.5


async def test_no_pattern_takes_long() -> None:
    for pattern in ("(a+)+$", "(a|aa)+$", "(.*a){20}$", "([a-z]+)*!"):
        start = time.perf_counter()
        await check({"regex": pattern}, "a" * 8000 + "?")
        assert time.perf_counter() - start < 1


@given(st.text(max_size=60), st.text(min_size=1, max_size=10).filter(lambda text: text.split()))
async def test_what_a_reply_was_made_of_is_found_in_it(around: str, text: str) -> None:
    wanted = text.replace("{", "{{").replace("}", "}}")
    assert await check({"contains": wanted}, f"{around} {text} {around}") == []
    assert await check({"ends_with": wanted}, f"{around} {text}") == []


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("...", 0), ("1. Open the app. 2. Press Send back.", 2), ("Wait 48 hours. Then", 2), ("a\nb\n\nc", 3)],
)
def test_sentences(text: str, count: int) -> None:
    assert len(sentences(text)) == count
