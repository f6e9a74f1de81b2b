"""Advice on a prompt before it is saved: what is legal and yet likely wrong. Words, limits and shapes are in `lint.yaml`.

A finding says where, which rule, and the next step. Knows nothing of engines: who wants to know how much of the context a
prompt eats hands in what counts tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from bot.files import read_yaml
from bot.personal.kinds import KINDS
from bot.prompts.assertions import failures, names_in, sentences
from bot.prompts.cases import Cases
from bot.prompts.reasoning import reasoned
from bot.prompts.render import defaults, render, stand_ins
from bot.prompts.role_rules import broken, rules_of
from bot.prompts.schema import Example, Prompt, filled, place_of, variables_of
from bot.prompts.select import BARE, Count

Severity = Literal["error", "warning"]
_THINK = re.compile(r"</?think(?:ing)?>", re.I)
_FIGURE = re.compile(r"\d[\d.,]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """`place` is a key of the prompt, with line and column in its text where there is one."""

    severity: Severity
    place: str
    rule: str
    what: str
    next: str

    def row(self) -> dict[str, str]:
        return {"": self.severity, "place": self.place, "rule": self.rule, "finding": self.what, "next step": self.next}


async def lint(prompt: Prompt, cases: Cases, count: Count | None = None, context: int = 0) -> list[Finding]:
    """Everything that is worth a look, errors first. `count` tells tokens, `context` how many the base reads."""
    found = [*_variables(prompt, cases), *_goal(prompt), *_wording(prompt), *_techniques(prompt)]
    found += [finding for place, text in _all_texts(prompt) for finding in _leaks(place, text)]
    found += [*await _rules(prompt, cases), *_contradictions(prompt.examples)]
    if count and context:
        found += _context(prompt, count, context)
    return sorted(found, key=lambda finding: finding.severity)


@cache
def _words() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("lint.yaml"))


@cache
def _any_of(key: str) -> re.Pattern[str]:
    words = sorted(_words()[key], key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)", re.I)


def _all_texts(prompt: Prompt) -> Iterator[tuple[str, str]]:
    yield from ((place, text) for place, text, _ in prompt.texts())
    for name, variable in prompt.variables.items():
        yield f"variables.{name}", variable.default or ""


def _variables(prompt: Prompt, cases: Cases) -> Iterator[Finding]:
    used = {name for _, text, _ in prompt.texts() for name in variables_of(text)}
    asked = {name for a in (*cases.every_reply, *(a for c in cases.cases for a in c.expect)) for name in names_in(a)}
    given = {name for case in cases.cases for name in case.variables}
    optional = defaults(prompt)
    for name in prompt.variables:
        if name not in used:
            yield Finding(
                "warning", f"variables.{name}", "unused variable", f"{{{name}}} is in no text.", "Use it, or take it out."
            )
        if name not in optional:
            yield Finding(
                "warning", f"variables.{name}", "must be given",
                f"Whoever leaves {{{name}}} out gets an error, and customers' messages give no variables.",
                "Give it a default, unless programs alone use this prompt.",
            )  # fmt: skip
    for name in sorted((asked | given) - set(prompt.variables)):
        yield Finding(
            "error", "cases.yaml", "undeclared variable", f"The cases speak of {{{name}}}, which the prompt does not have.",
            "Declare it under variables, or correct the case.",
        )  # fmt: skip


def _goal(prompt: Prompt) -> Iterator[Finding]:
    if not _any_of("goal").search(prompt.role):
        yield Finding(
            "warning", "role", "no goal", "The role does not say what the agent is to do.",
            "Say it in one sentence, such as: Answer the customer's question from the knowledge below.",
        )  # fmt: skip


def _wording(prompt: Prompt) -> Iterator[Finding]:
    limits = _words()["limits"]
    texts = {"role": prompt.role}
    if prompt.knowledge:
        texts |= {"knowledge.found": prompt.knowledge.found, "knowledge.nothing": prompt.knowledge.nothing}
    for place, text in texts.items():
        for match in _any_of("vague").finditer(text):
            yield Finding(
                "warning", place_of(place, text, match.start()), "vague", f"“{match[0]}” says nothing that can be checked.",
                "Say what to do, when, and how much.",
            )  # fmt: skip
        for sentence in sentences(" ".join(text.split())):
            if len(sentence.split()) > limits["sentence_words"]:
                yield Finding(
                    "warning", place, "over-long", f"A sentence has {len(sentence.split())} words: “{sentence[:60]}…”.",
                    "Make two of it.",
                )  # fmt: skip
    if (size := len(prompt.role.split())) > limits["role_words"]:
        yield Finding(
            "warning", "role", "over-long", f"The role has {size} words; {limits['role_words']} are plenty.",
            "Leave out what an example shows, or what knowledge holds.",
        )  # fmt: skip


def _techniques(prompt: Prompt) -> Iterator[Finding]:
    if prompt.technique == "chain-of-thought":
        if not _THINK.search(prompt.role):
            yield Finding(
                "warning", "role", "reasoning", "Nothing asks for reasoning between <think> and </think>.",
                "Ask for it in the role, or choose another technique.",
            )  # fmt: skip
        for number, example in enumerate(prompt.examples, 1):
            if not reasoned(example.agent):
                yield Finding(
                    "warning", f"examples[{number}].agent", "reasoning", "It shows a reply without reasoning.",
                    "Write the reasoning before the reply, between <think> and </think>: a model does as the examples do.",
                )  # fmt: skip
    else:
        for place, text, _ in prompt.texts():
            if tag := _THINK.search(text):
                yield Finding(
                    "error", place_of(place, text, tag.start()), "reasoning",
                    f"Under the technique {prompt.technique} customers would read what {tag[0]} marks.",
                    "Set technique to chain-of-thought, or take the tag out.",
                )  # fmt: skip


def _leaks(place: str, text: str) -> Iterator[Finding]:
    """Secrets, personal data and control tokens."""
    import re2

    for name, pattern in _words()["secrets"].items():
        for match in re2.finditer(pattern, text):
            yield Finding(
                "error", place_of(place, text, match.start()), "secret", f"This looks like {name}.",
                "Take it out, and have it changed where it is used.",
            )  # fmt: skip
    for kind, finder in KINDS.items():
        for start, end in finder(text):
            yield Finding(
                "warning", place_of(place, text, start), "personal data",
                f"“{text[start:end]}” looks like {kind.lower()} data.",
                "Take it out where it is a person's.",
            )  # fmt: skip
    for match in re2.finditer(_words()["control"], text):
        yield Finding(
            "error", place_of(place, text, match.start()), "control token",
            f"{match.group(0)} is a command in some model's language; here it is sent as plain text.", "Take it out.",
        )  # fmt: skip


async def _rules(prompt: Prompt, cases: Cases) -> list[Finding]:
    """Examples that break what every reply must hold, by the cases or by the role's own words. What needs passages or an
    embedding cannot be told of them."""
    rules = [rule for rule in cases.every_reply if rule.kind not in ("cites_passage", "similar")]
    stated, values, found = rules_of(prompt.role), stand_ins(prompt), []
    for number, example in enumerate(prompt.examples, 1):
        reply = filled(example.agent, values)
        said = reply.removeprefix(reasoned(reply)) if prompt.technique == "chain-of-thought" else reply
        faults = [f"{fault} Every reply must (cases.yaml)." for fault in await failures(rules, reply, values, (), None)]
        told: list[tuple[Severity, str]] = [("error", fault) for fault in faults]
        told += [
            ("error" if rule.certain else "warning", fault) for rule, fault in await broken(stated, said, values, rules)
        ]
        for severity, fault in told:
            found.append(
                Finding(
                    severity, f"examples[{number}].agent", "breaks the rules", fault,
                    "Correct the example: a model follows it rather than the rule.",
                )
            )  # fmt: skip
    return found


def _contradictions(examples: Sequence[Example]) -> Iterator[Finding]:
    """Two that ask the same and tell other figures, or are the same question with another reply."""
    least = _words()["limits"]["same_question"]
    for (first, one), (second, other) in combinations(enumerate(map(_Read.of, examples), 1), 2):
        same = one.customer == other.customer or (bool(one.asked) and one.asked == other.asked)
        near = len(one.asked & other.asked) / max(1, len(one.asked | other.asked)) >= least
        if (same and one.agent != other.agent) or (near and one.figures != other.figures):
            yield Finding(
                "error", f"examples[{second}]", "contradiction", f"It asks what example {first} asks and answers otherwise.",
                "Keep the one that is right.",
            )  # fmt: skip
        elif same:
            yield Finding(
                "warning", f"examples[{second}]", "twice", f"It is example {first} again.", "Show another situation instead."
            )


@dataclass(frozen=True, slots=True)
class _Read:
    """An example as it is compared with others: plain texts, the words that tell what is asked, the reply's figures."""

    customer: str
    agent: str
    asked: set[str]
    figures: set[str]

    @classmethod
    def of(cls, example: Example) -> _Read:
        customer, agent = (" ".join(text.casefold().split()) for text in (example.customer, example.agent))
        asked = set(re.findall(r"[\w']+", customer)) - set(_words()["little"])
        return cls(customer, agent, asked, set(_FIGURE.findall(agent)))


def _context(prompt: Prompt, count: Count, context: int) -> Iterator[Finding]:
    """With as many examples as a message may be shown, the longest first."""

    def with_examples(shown: Sequence[Example]) -> int:
        return count(render(prompt, shown, stand_ins(prompt), (), BARE))

    examples = sorted(prompt.examples, key=lambda e: -len(e.customer + e.agent))
    tokens = with_examples(examples[: prompt.select.count] if prompt.select else examples)
    if prompt.select and prompt.select.tokens:
        tokens = min(tokens, prompt.select.tokens + with_examples(()))
    if tokens * 2 > context:
        yield Finding(
            "error", "examples" if prompt.examples else "role", "context",
            f"The prompt takes {tokens:,} of the {context:,} tokens that the base reads.",
            "Leave half of them to passages, the conversation and the reply: shorten it, or set select.",
        )  # fmt: skip
