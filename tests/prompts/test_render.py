"""Rendering: order of messages, values inserted once, knowledge found and not found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.prompts import ChatPromptTemplate

from bot.errors import PromptError
from bot.limits import MAX_RENDERED
from bot.prompts.render import chat_template, check_size, render
from bot.prompts.schema import Prompt, parse_prompt
from bot.types import Message, Passage

FEW_SHOT = """
technique: few-shot
role: You are {name}.
knowledge: {found: "Known: {passages}", nothing: Nothing is known.}
template: "Customer: {message}"
examples:
  - {customer: Hi, agent: "Hello, {name} here.", source: written for the test}
variables:
  name: {description: Who, required: true}
author: Test
note: First.
date: 2026-11-20
"""
ASKED = (Message("user", "Earlier"), Message("assistant", "Reply"), Message("user", "Now?"))
PASSAGE = Passage("a#1", "Title", "A fact.\nOn two lines.", "a")


@pytest.fixture
def prompt() -> Prompt:
    return parse_prompt(FEW_SHOT)


def test_order_is_system_examples_history_message(prompt: Prompt) -> None:
    messages = render(prompt, prompt.examples, {"name": "Kim"}, [PASSAGE], ASKED)
    assert messages == (
        Message("system", "You are Kim.\n\nKnown: [1] Title: A fact. On two lines."),
        Message("user", "Hi"),
        Message("assistant", "Hello, Kim here."),
        Message("user", "Earlier"),
        Message("assistant", "Reply"),
        Message("user", "Customer: Now?"),
    )


@pytest.mark.parametrize(("passages", "shown"), [(None, "You are Kim."), ([], "You are Kim.\n\nNothing is known.")])
def test_knowledge_off_differs_from_nothing_found(prompt: Prompt, passages: list[Passage] | None, shown: str) -> None:
    assert render(prompt, (), {"name": "Kim"}, passages, ASKED)[0].content == shown


def test_all_missing_and_unknown_variables_are_named_at_once(prompt: Prompt) -> None:
    with pytest.raises(PromptError, match=r"missing: name; unknown: a, b"):
        render(prompt, (), {"b": "", "a": ""}, None, ASKED)


def test_without_a_prompt_the_history_goes_as_it_is() -> None:
    assert render(None, (), {}, None, ASKED) == ASKED
    assert render(None, (), {}, [PASSAGE], ASKED)[0] == Message("system", "[1] Title: A fact. On two lines.")


@given(text=st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=200))
def test_customers_text_is_inserted_once_and_never_expanded(text: str) -> None:
    prompt = parse_prompt(FEW_SHOT)
    for hostile in (text, "{name}" + text, "{{" + text, text + "{message.__class__}"):
        messages = render(prompt, (), {"name": hostile}, [Passage("a", "T", hostile, "a")], (Message("user", hostile),))
        assert messages[-1].content == "Customer: " + hostile
        assert messages[0].content.startswith("You are " + hostile.rstrip()[:1].strip())


def test_rendered_size_is_capped(prompt: Prompt) -> None:
    with pytest.raises(PromptError, match="at most"):
        check_size(render(prompt, (), {"name": "x" * MAX_RENDERED}, None, ASKED))


def test_the_template_is_a_real_langchain_prompt(prompt: Prompt) -> None:
    template = chat_template(prompt, prompt.examples, {"name": "Kim"}, None)
    assert isinstance(template, ChatPromptTemplate)
    assert [m.type for m in template.invoke({"message": "Hello"}).to_messages()] == ["system", "human", "ai", "human"]
