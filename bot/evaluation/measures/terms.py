"""Names and steps in a text: capitalised terms inside sentences, button names, quoted texts; what to do, with what.

A name is compared as it is written, so that "press Send back" is not answered by "send it back". A step is the verb, one
word for those that mean the same, with the words of its object; "do not" makes it another one. Pure; verbs stand in
`facts.yaml`.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple

from bot.evaluation.measures.figures import in_digits, words

_QUOTED = re.compile(r"[\"“]([^\"“”]{1,60})[\"”]")
_STARTS = re.compile(r"(?:^|[.!?:;\n•*]|\d[.)])[\"“'(\s]*$")
_CAPITAL = re.compile(r"(?<![\w'’.,$€£#-])[A-Z][\w'’]*(?:\s+[A-Z][\w'’]*)*(?![\w%]|[.,-]\w)")
_MOST_WORDS = 6


class Step(NamedTuple):
    verb: str
    negated: bool
    on: frozenset[str]


@lru_cache(50_000)
def names(text: str) -> frozenset[str]:
    """The terms of `text`; codes and bare figures are none."""
    quoted = [" ".join(part.split()).rstrip(" .,!?") for part in _QUOTED.findall(text) if len(part.split()) <= _MOST_WORDS]
    buttons = [object_ for _, _, object_ in _said(text) if object_[:1].isupper()]
    rest = _QUOTED.sub(" ", text)
    for button in sorted(buttons, key=len, reverse=True):
        rest = re.sub(rf"(?<=[\w,] ){re.escape(button)}\b", "", rest)
    found = [_name(match[0].split(), _begins(rest, match.start())) for match in _CAPITAL.finditer(rest)]
    return frozenset(name for name in (*quoted, *buttons, *found) if name and not any(map(str.isdigit, name)))


def _name(parts: list[str], begins: bool) -> str:
    """Of a run of capitalised words, what is a name: where it begins a sentence, its first word may have its capital from
    that, so that it counts with another one alone."""
    kept = [word for word in parts if not (word.replace("’", "'") in _set("no_names") or word.lower() in _function_words())]
    return "" if begins and len(parts) == 1 else " ".join(kept)


def _begins(text: str, place: int) -> bool:
    """Whether a sentence begins there."""
    return _STARTS.search(text[max(0, place - 8) : place]) is not None


@lru_cache(50_000)
def steps(text: str) -> frozenset[Step]:
    found = set()
    for verb, negated, object_ in _said(in_digits(text)):
        parts = re.findall(r"[\w-]+", object_.lower())
        # How many, or how long, is a figure's to tell.
        on = frozenset(part for part in parts if not part.isdigit()) - _set("left_out")
        if on or verb in _set("alone"):
            found.add(Step(verb, negated, on))
    return frozenset(found)


def takes(step: Step, said: frozenset[Step]) -> bool:
    """Whether one of the steps `said` is that step, be its object told more closely."""
    return any((step.verb, step.negated) == (other.verb, other.negated) and step.on <= other.on for other in said)


@lru_cache(50_000)
def _said(text: str) -> tuple[tuple[str, bool, str], ...]:
    """Verb, whether it is turned round, and its object as it is written."""
    found = []
    for match in _verb().finditer(text):
        before = re.findall(r"[\w'’]+|[.,!?:;]", text[max(0, match.start() - 24) : match.start()])
        last = before[-1].lower().replace("’", "'") if before else ""
        # A capital inside a sentence is a button's name, which its own verb takes.
        inside = match[0][0].isupper() and not _begins(text, match.start())
        if inside or last in _set("no_step_after"):
            continue
        clause = re.split(r"[.,!?:;]", text[max(0, match.start() - 24) : match.start()])[-1]
        negated = not _set("negations").isdisjoint(clause.lower().replace("’", "'").split())
        found.append((_verbs()[match[0].lower()], negated, _object(text[match.end() :])))
    return tuple(found)


def _object(text: str) -> str:
    """The words after a verb up to the end of its clause."""
    taken: list[str] = []
    for match in re.finditer(r"(\s+)([\w'’°$€£%.-]*[\w%])|(.)", text):
        word = match[2]
        if not word or word.lower() in _set("boundaries") or len(taken) == _MOST_WORDS:
            break
        if taken or word.lower() not in _set("left_out"):
            taken.append(word)
    return " ".join(taken)


@cache
def _set(key: str) -> frozenset[str]:
    given = frozenset(words()[key])
    return given if key == "no_names" else frozenset(word.lower() for word in given)


@cache
def _function_words() -> frozenset[str]:
    return _set("left_out") | _set("no_step_after") | _set("boundaries")


@cache
def _verbs() -> dict[str, str]:
    return {verb.lower(): line[0].lower() for line in words()["verbs"] for verb in line}


@cache
def _verb() -> re.Pattern[str]:
    verbs = sorted(_verbs(), key=len, reverse=True)
    return re.compile(rf"(?<![\w'’-])(?:{'|'.join(map(re.escape, verbs))})(?![\w'’-])", re.I)
