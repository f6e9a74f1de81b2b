"""A prompt's rules: what is refused names the place, what is accepted round-trips."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import PromptError
from bot.prompts.schema import Prompt, dump_prompt, parse_prompt, variables_of

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


def with_role(role: str) -> str:
    body = "\n".join("  " + line for line in role.split("\n"))
    return GOOD.replace("  You are {name}.", body)


@pytest.mark.parametrize(
    "role",
    [
        "{name.__class__}",
        "{name[0]}",
        "{name!r}",
        "{name:>60000000}",
        "{name:{name}}",
        "{}",
        "{0}",
        "{",
        "}",
        "{{name}}}",
        "{ name }",
        "{{ name }} {% for x in y %} {",
        "{na me}",
        "{undeclared}",
        "{message}",
        "{passages}",
        "{name" + "x" * 100 + "}",
    ],
)
def test_hostile_templates_are_refused_with_their_place(role: str) -> None:
    start = time.perf_counter()
    with pytest.raises(PromptError, match=r"role, line 1, column \d+"):
        parse_prompt(with_role(role))
    assert time.perf_counter() - start < 0.05


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
