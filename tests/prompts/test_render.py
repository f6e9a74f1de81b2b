"""Rendering: order of messages, values inserted once, knowledge found and not found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.prompts import ChatPromptTemplate
from pydantic import ValidationError

from bot.engine.chat_model import ChatSwitchboard
from bot.engine.scripted import ScriptedEngine
from bot.errors import PromptError
from bot.limits import MAX_RENDERED
from bot.prompts.render import check_size, render
from bot.prompts.schema import Example, Prompt, Variable, parse_prompt
from bot.prompts.version import PromptVersion
from bot.types import ROLE_OF, Message, Passage

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


def test_empty_variables_leave_no_empty_system_message(prompt: Prompt) -> None:
    bare = prompt.model_copy(update={"role": "{name}", "knowledge": None})
    assert render(bare, (), {"name": " "}, None, ASKED) == (*ASKED[:2], Message("user", "Customer: Now?"))
    assert render(bare, (), {"name": " Kim\n"}, None, ASKED)[0] == Message("system", "Kim")


def test_growth_is_counted_once_a_render(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr("bot.prompts.render.grown", lambda text, values: counted.append(text) or 0)
    render(prompt, prompt.examples, {"name": "Kim"}, [PASSAGE], ASKED)
    assert len(counted) == len(set(counted)) == 4


@pytest.fixture
def version(prompt: Prompt) -> PromptVersion:
    known = {**prompt.variables, "desk": Variable(description="Which", default="the desk")}
    role = "You are {name} of {desk}. {{Braces}}"
    examples = [Example(customer="Hi {desk}", agent="{name} here, not {{name}}.", source="written for the test")]
    return PromptVersion("support", 2, prompt.model_copy(update={"role": role, "variables": known, "examples": examples}))


def test_a_version_is_a_real_langchain_prompt(version: PromptVersion) -> None:
    assert isinstance(version, ChatPromptTemplate)
    assert version.ref == "support@2"
    assert version == PromptVersion("support", 2, version.prompt) != PromptVersion("support", 3, version.prompt)
    assert version.input_variables == ["message", "name"]
    assert [type(part).__name__ for part in version.messages][1] == "FewShotChatMessagePromptTemplate"
    said = version.invoke({"message": "{desk}?", "name": "Kim", "history": [("human", "a"), ("ai", "b")]}).to_messages()
    assert [(m.type, m.content) for m in said] == [
        ("system", "You are Kim of the desk. {Braces}"),
        ("human", "Hi the desk"),
        ("ai", "Kim here, not {name}."),
        ("human", "a"),
        ("ai", "b"),
        ("human", "Customer: {desk}?"),
    ]
    with pytest.raises(KeyError, match="name"):
        version.invoke({"message": "Hello"})


async def test_given_values_reach_role_and_examples(version: PromptVersion) -> None:
    given = {"message": "Hello", "name": "Kim", "desk": "{name}'s shop"}
    said = (await version.ainvoke(given)).to_messages()
    assert [m.content for m in said[:3]] == [
        "You are Kim of {name}'s shop. {Braces}",
        "Hi {name}'s shop",
        "Kim here, not {name}.",
    ]
    assert version.invoke(given).to_messages() == said
    kim = version.partial(name="Kim", desk="the shop")
    assert kim.invoke({"message": "Hello"}).to_messages()[0].content == "You are Kim of the shop. {Braces}"


def test_a_version_stands_in_a_chain_as_rendered(version: PromptVersion) -> None:
    chain = version | ChatSwitchboard(engine=(engine := ScriptedEngine()))
    assert chain.invoke({"message": "Now?", "name": "Kim"}).content
    assert engine.calls[-1].messages == render(
        version.prompt, version.prompt.examples, {"name": "Kim"}, None, [Message("user", "Now?")]
    )


def test_what_a_version_is_given_is_capped_before_it_is_made(version: PromptVersion) -> None:
    long = PromptVersion("long", 1, version.prompt.model_copy(update={"role": "{name}" * 3_000}))
    with pytest.raises(PromptError, match=f"{MAX_RENDERED:,}"):
        long.invoke({"message": "hi", "name": "x" * 8_000_000})


LONG = [("human", "x" * MAX_RENDERED)]


@pytest.mark.parametrize(
    ("fixed", "given"),
    [
        ({"name": lambda: "x" * MAX_RENDERED}, {}),
        ({"name": "Kim", "history": LONG}, {}),
        ({"name": "Kim"}, {"history": LONG}),
    ],
)
def test_partials_and_history_count_too(version: PromptVersion, fixed: dict[str, Any], given: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match=f"{MAX_RENDERED:,}"):
        version.partial(**fixed).invoke({"message": "hi"} | given)


def test_a_partial_may_be_a_function(version: PromptVersion) -> None:
    said = version.partial(name=lambda: "Kim").format_messages(message="hi")
    assert [m.content for m in said[:3:2]] == ["You are Kim of the desk. {Braces}", "Kim here, not {name}."]


@pytest.mark.parametrize("name", ["", " \n", " Kim\n"])
def test_blanks_around_the_system_message_go_as_in_render(version: PromptVersion, name: str) -> None:
    bare = PromptVersion("bare", 1, version.prompt.model_copy(update={"role": "{name}"}))
    said = [(ROLE_OF[m.type], m.content) for m in bare.invoke({"message": "Now?", "name": name}).to_messages()]
    wanted = render(bare.prompt, bare.prompt.examples, {"name": name}, None, [Message("user", "Now?")])
    assert said == [(message.role, message.content) for message in wanted]


def test_a_version_never_changes(version: PromptVersion) -> None:
    before = len(version.messages)
    with pytest.raises(PromptError, match=r"support@2 .* never changes"):
        version.append(("human", "More."))
    with pytest.raises(PromptError, match=r"support@2 .* never changes"):
        version.extend([("human", "More.")])
    with pytest.raises(ValidationError, match="frozen"):
        version.version = 3
    assert len(version.messages) == before
    assert len((version + "More.").messages) == before + 1


@pytest.mark.parametrize("make", [lambda: PromptVersion.from_messages(["hi"]), lambda: PromptVersion.from_template("hi")])
def test_a_version_is_made_of_a_prompt(make: Callable[[], object]) -> None:
    with pytest.raises(PromptError, match="made of a prompt"):
        make()


@pytest.mark.parametrize("name", ["message", "passages", "history", "stop", "self"])
def test_a_variable_cannot_take_a_name_that_is_taken(name: str) -> None:
    with pytest.raises(PromptError, match=f"{name!r} cannot be a variable's name"):
        parse_prompt(FEW_SHOT.replace("variables:\n", f"variables:\n  {name}: {{description: Taken}}\n"))
