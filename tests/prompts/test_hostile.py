"""Hostile prompts are refused with line and column, each in under 50 ms: whatever is in them is never expanded."""

from __future__ import annotations

import re
import time

import pytest

from bot.errors import PromptError
from bot.limits import MAX_RENDERED
from bot.prompts.render import render
from bot.prompts.schema import parse_prompt
from bot.types import Message, Passage

GOOD = """technique: zero-shot
role: |
  You are {name}.
variables:
  name: {description: Who, default: Robin}
author: Test
note: First.
date: 2026-11-20
"""
TEMPLATES = [
    "{name.__class__}",
    "{name.__class__.__mro__}",
    "{name.__init__.__globals__}",
    "{name[0]}",
    "{name[__class__]}",
    '{name["a"]}',
    "{name.a[b].c}",
    "{name!r}",
    "{name!s}",
    "{name!a}",
    "{name!x}",
    "{name:>60000000}",
    "{name:060000000d}",
    "{name:.60000000}",
    "{name:{name}}",
    "{name:{name}>9}",
    "{name:%Y}",
    "{name:>{width}}",
    "{name!r:>9}",
    "{}",
    "{0}",
    "{0.a}",
    "{1[2]}",
    "{-1}",
    "{:>9}",
    "{!r}",
    "{name:}",
    "{name!}",
    "{{name}}}",
    "{{{name}}}}",
    "{name}}",
    "{{name}",
    "{",
    "}",
    "}{",
    "{na-me}",
    "{1name}",
    "{näme}",
    "{na.me}",
    "{self}",
    "{message}",
    "{passages}",
    "{undeclared}",
    "{__import__('os')}",
    "{ name }",
    "{{ name }} {% for x in y %} {",
    "{na me}",
    "{name" + "x" * 100 + "}",
    "{lambda:0}",
    "{name|upper}",
    "{name+1}",
    "${name}{x}",
    "%(name)s{",
    "{%for}",
    "{%raw%}",
    "{{name}{%if%}",
    "{#comment#}",
    "{=name}",
    "{*name}",
    "{@name}",
    "{$name}",
    "{name,name}",
    "{name;drop}",
    "{name=}",
    "{name:=1}",
    "{\u200bname}",
    "{name\u200b}",
    "{NAME}",
    "{ｎａｍｅ}",
    "{_name_}",
    "{name\\n}",
]
BOMBS = {
    "a million laughs": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "an alias of itself": "a: &a [*a]\n",
    "a merge key": "a: &a {b: 1}\nc: {<<: *a}\n",
    "many values": "role: [" + "a," * 90_000 + "]\n",
    "many keys": "".join(f"k{number}: 1\n" for number in range(18_000)),
    "deep lists": "role: " + "[" * 190_000,
    "deep mappings": "role: " + "{a: " * 40_000,
    "a python object": "role: !!python/object/apply:os.getcwd []\n",
    "a python name": "role: !!python/name:os.system x\n",
    "an unknown tag": "role: !thing x\n",
    "two documents": "role: a\n---\nrole: b\n",
    "a duplicate key": GOOD + "note: Again.\n",
    "a duplicate key deeper": GOOD.replace("default: Robin", "default: Robin, default: Kim"),
    "a tab": "role:\n\t- a\n",
    "an open quote": 'role: "a\n',
    "a lone bracket": "role: ]\n",
    "a control character": "role: \x07\n",
    "a list": GOOD.replace("role: |\n  You are {name}.", "role: [You, are]"),
    "a mapping": GOOD.replace("role: |\n  You are {name}.", "role: {a: b}"),
    "a number for a text": GOOD.replace("author: Test", "author: 7"),
    "a text for a list": GOOD + "examples: none\n",
    "a list for a mapping": GOOD.replace("  name: {description: Who, default: Robin}", "  - name"),
    "an odd date": GOOD.replace("2026-11-20", "[2026]"),
    "not a number": GOOD + "decoding: {temperature: .nan}\n",
    "an endless reply": GOOD + "decoding: {max_tokens: 99999999999999999999999999}\n",
    "a long text": GOOD.replace("You are {name}.", "a" * 150_000),
    "many braces": GOOD.replace("You are {name}.", "{" * 18_999),
    "many names": GOOD.replace("You are {name}.", "{x}" * 6_000),
    "a name of great length": GOOD.replace("{name}", "{" + "n" * 15_000 + "}"),
    "growth": GOOD.replace("You are {name}.", "{name}" * 3_000).replace("Robin", "R" * 19_000),
    "growth by many texts": GOOD.replace("Robin", "R" * 15_000)
    + "examples:\n"
    + "  - {customer: '{name}', agent: '{name}', source: made up}\n" * 4,
    "a nul": GOOD.replace("You are {name}.", "You are {name}.\x00"),
    "a lone surrogate": GOOD.replace("You are {name}.", "You are é{name}.\ud800"),
    "an escaped surrogate": GOOD.replace("First.", '"\\ud800"'),
    "no message": GOOD + "template: Hello.\n",
    "no passages": GOOD + "knowledge: {found: Here., nothing: Nothing.}\n",
    "no examples": GOOD.replace("zero-shot", "few-shot"),
    "nothing to choose from": GOOD + "select: {count: 3}\n",
    "an odd variable": GOOD.replace("  name:", "  na-me:"),
    "a reserved variable": GOOD.replace("  name:", "  message:"),
    "a file of great length": GOOD + "# " + "x" * 200_000,
    "nothing": "",
    "a text alone": "hello\n",
    "a list alone": "[a]\n",
    "a list as a key": "? [a]\n: b\n",
    "a mapping as a key": GOOD + "{a: b}: c\n",
    "no bool": GOOD.replace("Test", "!!bool x"),
    "no number": GOOD.replace("Test", "!!int ''"),
    "no fraction": GOOD.replace("Test", "!!float ''"),
    "no time": GOOD.replace("Test", "!!timestamp now"),
    "no mapping": GOOD.replace("Test", "!!map x"),
    "no such day": GOOD.replace("2026-11-20", "2026-13-45"),
    "no such hour": GOOD.replace("2026-11-20", "2026-11-20 10:00:00 -99:99"),
    "a number of great length": GOOD + "decoding: {max_tokens: " + "9" * 5_000 + "}\n",
    "empty choice": GOOD + "select: {by: similarity}\n",
    "an odd choice": GOOD + "select: {by: chance, count: 1}\n",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("place", ["role", "template", "example"])
def test_templates_are_refused_with_their_place(name: str, place: str) -> None:
    if name == "{message}" and place == "template":
        pytest.skip("the one place where it belongs")
    if place == "role":
        text = GOOD.replace("You are {name}.", f"You are {name}")
    elif place == "template":
        text = GOOD + "template: |\n  {message}\n  " + name + "\n"
    else:
        text = GOOD + "examples:\n  - customer: hi\n    source: made up\n    agent: |\n      " + name + "\n"
    refused(text)


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_with_their_place(name: str) -> None:
    refused(BOMBS[name])


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("é: a\nrole: é\x07\n", 2, 8),
        ("é: a\nrole: é\ud800\n", 2, 8),
        ("role: a\n# " + "é" * 200_000, 2, 199_993),
        (GOOD.replace("Test", "!!bool x"), 6, 9),
        (GOOD + "select: {count: 3}\n", 9, 9),
        (GOOD.replace("{name}.\n", "\n  {name}{name}" + "{name}" * 8).replace("Robin", "R" * 12_000), 2, 49),
        (GOOD.replace("zero-shot", "few-shot"), 1, 12),
    ],
)
def test_the_place_is_where_it_is(text: str, line: int, column: int) -> None:
    with pytest.raises(PromptError, match=rf"line {line}, column {column}\b"):
        parse_prompt(text)


def refused(text: str) -> None:
    seconds = []
    for _ in range(3):
        # The processor's time: what else the machine does is not the parser's fault.
        start = time.thread_time()
        with pytest.raises(PromptError) as caught:
            parse_prompt(text)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.05
    told = str(caught.value)
    assert re.search(r"line \d+, column \d+", told), told
    assert len(told) < 20_000


def test_there_are_enough_of_them() -> None:
    assert len({*TEMPLATES, *BOMBS}) >= 60


def test_what_is_rendered_is_capped_before_it_is_made() -> None:
    prompt = parse_prompt(GOOD.replace("You are {name}.", "{name}" * 3_000) + 'template: "{message}"\n')
    start = time.thread_time()
    with pytest.raises(PromptError, match=f"{MAX_RENDERED:,}"):
        render(prompt, (), {"name": "x" * 8_000_000}, [Passage("a", "t", "x", "a")], [Message("user", "hi")])
    assert time.thread_time() - start < 0.05
