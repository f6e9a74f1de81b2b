"""A prompt's rules: what is refused names the place, what is accepted round-trips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import PromptError
from bot.prompts.schema import Prompt, check_prompt, dump_prompt, parse_prompt, variables_of

GOOD = """
technique: zero-shot
role: |
  You are {name}.
variables:
  name: {description: Who, default: Robin}
author: Test
note: First.
date: 2026-11-20
"""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("technique: zero-shot", "technique: magic"), "technique"),
        (("note: First.", "note: First.\nsurprise: 1"), "surprise"),
        (("date: 2026-11-20", "date: yesterday"), "date"),
        (("note: First.", 'note: ""'), "note"),
        (("author: Test", "author: Test\ntemplate: Hello"), "message"),
        (("author: Test", "author: Test\ndecoding: {temperature: 9}"), "temperature"),
        (("author: Test", "author: Test\nrole: again"), "stands twice"),
        (("author: Test", "author: &a Test\nnote: *a"), "alias"),
        (("zero-shot", "few-shot"), "examples"),
        (("author: Test", "author: Test\nknowledge: {found: x, nothing: y}"), "passages"),
        (("author: Test", "author: [Test"), "line"),
    ],
)
def test_bad_files_are_refused_by_name(change: tuple[str, str], named: str) -> None:
    with pytest.raises(PromptError, match=named):
        parse_prompt(GOOD.replace(*change))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("message", "stands in template alone"),
        ("passages", "stands in knowledge.found alone"),
        ("history", "no variable can have that name"),
        ("other", "not declared under variables"),
    ],
)
def test_a_name_that_is_taken_is_not_told_to_be_declared(name: str, told: str) -> None:
    with pytest.raises(PromptError, match=told) as caught:
        parse_prompt(GOOD.replace("{name}", "{" + name + "}"))
    assert ("declared" in str(caught.value)) == (name == "other")


def test_a_line_that_was_typed_on_any_machine_ends_alike() -> None:
    typed = {**parse_prompt(GOOD).model_dump(), "role": "One.\r\nTwo.", "examples": [], "date": "2026-11-20"}
    typed["examples"] = [{"customer": "a\r\nb", "agent": "c\r\n", "source": "s"}]
    made = check_prompt(typed)
    assert (made.role, made.examples[0].customer, made.examples[0].agent) == ("One.\nTwo.", "a\nb", "c\n")
    assert parse_prompt(GOOD.replace("\n", "\r\n")) == parse_prompt(GOOD)


def test_the_keys_of_a_prompt_are_told_with_line_and_column_too() -> None:
    pairs = [{"customer": "a", "agent": "b", "source": "s"}, {"customer": "a", "agent": "", "source": "s"}]
    typed = {**parse_prompt(GOOD).model_dump(), "role": "a\r\n" * 15_000, "examples": pairs}
    told = (
        r"role, line 10001, column 1: it has 30,000 characters; at most 20,000 are .*examples\[2\].agent, line 1, column 1"
    )
    with pytest.raises(PromptError, match=told):
        check_prompt(typed)
    with pytest.raises(PromptError, match=r"examples\[2\].agent, line 1, column 3"):
        check_prompt({**typed, "role": "", "examples": [pairs[0], {**pairs[1], "agent": "a {b}"}]})
    with pytest.raises(PromptError, match=r"examples\[7\].agent, line 1, column 3: '\{examples\[1\]\}'"):
        check_prompt({**typed, "role": "", "examples": [pairs[0], {**pairs[1], "agent": "a {examples[1]}"}]}, (4, 7))


def test_yaml_cannot_make_objects() -> None:
    with pytest.raises(PromptError):
        parse_prompt(GOOD.replace("author: Test", "author: !!python/object/apply:os.getcwd []"))


def test_a_prompt_that_is_too_large_is_refused() -> None:
    with pytest.raises(PromptError, match="at most"):
        parse_prompt(GOOD + "#" * 300_000)


texts = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="{}\x85\u2028\u2029\ufeff"), max_size=80
)


@given(role=texts, note=texts.filter(str.strip), default=texts)
def test_prompts_round_trip_through_yaml(role: str, note: str, default: str) -> None:
    prompt = parse_prompt(GOOD)
    changed = Prompt.model_validate(
        {**prompt.model_dump(), "role": role, "note": note, "variables": {"name": {"description": "d", "default": default}}}
    )
    assert parse_prompt(dump_prompt(changed)) == changed


def test_the_hash_is_of_what_reaches_the_model() -> None:
    prompt = parse_prompt(GOOD)
    assert parse_prompt(GOOD.replace("First.", "Another note.")).hash == prompt.hash
    assert parse_prompt(GOOD.replace("You are", "You were")).hash != prompt.hash


def test_variables_of_ignores_doubled_braces() -> None:
    assert variables_of("{{no}} {yes} {{{also}}}") == {"yes", "also"}
