"""Rules that a role states in plain words, and whether a reply holds to them: only what the wording leaves no doubt about.

The patterns are in `role_rules.yaml`. A sentence that could hold for some replies only, by its own words, by those before it
or by a heading above it, is left to people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bot.files import read_yaml
from bot.prompts.assertions import Assertion, failures, sentences

_LISTED = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)])\s+")
_TITLE = re.compile(r"\s*(?:#{1,6}\s.*|(\*\*|__)[^*_]+\1:?\s*)")
_ENDED = re.compile(r"[.!?…][\"'”’)*_]*$")
_OF_ALL = re.compile(r"\b(?:every|each|all) (?:repl|answer|response|message)", re.I)
_PART = re.compile(r"<(\w+)>")
_SPACES = re.compile(r"\s+")
_APOSTROPHES = str.maketrans("‘’", "''")


@dataclass(frozen=True, slots=True)
class RoleRule:
    """One sentence of a role as an assertion, or as patterns of sentences that break it; `fault` says what that means."""

    sentence: str
    assertion: Assertion | None
    breaks: tuple[str, ...]
    fault: str

    @property
    def certain(self) -> bool:
        return self.assertion is not None


def rules_of(role: str) -> list[RoleRule]:
    """In the order of the role."""
    return [rule for sentence in _sentences(role) for rule in _read(sentence)]


async def broken(
    rules: Sequence[RoleRule], reply: str, values: Mapping[str, str], known: Sequence[Assertion]
) -> list[tuple[RoleRule, str]]:
    """The rules that `reply` breaks, each with a line that says so. `known` are assertions that are checked elsewhere; their
    endings count as such here too."""
    endings = [a for a in (*known, *(rule.assertion for rule in rules)) if a is not None and a.ends_with is not None]
    found = []
    for rule in rules:
        if rule.assertion is None:
            faults = [rule.fault] * any(_breaks(rule, sentence) for sentence in sentences(reply))
        elif rule.assertion in known:
            continue
        else:
            # Only so is a signature no sentence of the reply.
            others = [ending for ending in endings if ending != rule.assertion]
            read = _without_lines_apart(reply) if rule.assertion.max_sentences else reply
            told = await failures([rule.assertion, *others], read, values, (), None)
            apart = await failures(others, read, values, (), None)
            faults = [fault for fault in told if fault not in apart]
            if rule.assertion.not_contains and not _is_word_in(rule.assertion.not_contains, reply):
                faults = []
        found += [(rule, f"The role says “{rule.sentence}” {rule.fault or fault}") for fault in faults[:1]]
    return found


def _without_lines_apart(reply: str) -> str:
    """Without salutations, signatures and other lines that are no whole sentence."""
    lines = reply.splitlines()
    return "\n".join(line for line in lines if _ENDED.search(line.strip()) or len(sentences(line)) > 1)


def _sentences(role: str) -> Iterator[str]:
    """Those that may hold for every reply."""
    under, before = "", False
    for listed, text in _paragraphs(role):
        if _TITLE.fullmatch(text):
            under = "title"
        elif under == "heading" and before and not listed:
            under = ""
        before = listed
        if under:
            continue
        yield from _unconditional(text)
        if text.endswith(":") or not (listed or _ENDED.search(text)):
            under = "heading"


def _paragraphs(role: str) -> Iterator[tuple[bool, str]]:
    """Whether each is of a list, and its text. Wrapped lines are joined; those of a list and headings stand alone."""
    paragraphs: list[tuple[bool, list[str]]] = []
    alone = True
    for line in role.splitlines():
        mark = _LISTED.match(line)
        if mark or alone or not line.strip() or _TITLE.fullmatch(line):
            paragraphs.append((bool(mark), []))
        paragraphs[-1][1].append(line[mark.end() :] if mark else line)
        alone = bool(_TITLE.fullmatch(line)) or line.rstrip().endswith(":")
    for listed, lines in paragraphs:
        if text := " ".join(" ".join(lines).split()):
            yield listed, text


def _unconditional(text: str) -> Iterator[str]:
    """The sentences of a paragraph; behind one that says when, only those that name every reply."""
    some = False
    for sentence in sentences(text):
        if not some or _OF_ALL.search(sentence):
            yield sentence
        some = some or bool(_any_of("condition").match(sentence) or re.search(r":\s+(?![\"“])", sentence))


def _read(sentence: str) -> Iterator[RoleRule]:
    plain = _SPACES.sub(" ", sentence).strip().translate(_APOSTROPHES)
    bare = re.sub(r'([.!;:])$|[.!](["”\'])$', r"\2", plain)
    if _any_of("unsure").search(re.sub(r"[\"“][^\"“”]*[\"”]", "", bare)):
        return
    for pattern, rule in _rules():
        if match := pattern.fullmatch(bare):
            groups = {name: text.strip() for name, text in match.groupdict().items()}
            if not all(groups.values()):
                continue
            assertion = _held(rule["holds"], groups) if "holds" in rule else None
            if "holds" in rule and assertion is None:
                return
            breaks = tuple(
                _put(text, {name: re.escape(found) for name, found in groups.items()}) for text in rule.get("breaks", ())
            )
            yield RoleRule(sentence.strip(), assertion, breaks, rule.get("fault", ""))
            return


def _held(holds: Mapping[str, str], groups: Mapping[str, str]) -> Assertion | None:
    """An assertion with what the role says in it; None where that is more than an assertion takes."""
    kind, text = next(iter(holds.items()))
    value = _put(text, groups)
    try:
        return Assertion.model_validate({kind: _number(value) if kind == "max_sentences" else value})
    except ValidationError:
        return None


def _put(text: str, groups: Mapping[str, str]) -> str:
    return _PART.sub(lambda match: groups[match[1]], text)


def _number(text: str) -> int | None:
    """None for a word in letters that only look alike, which patterns take as the same."""
    number: int | None = int(text) if text.isdecimal() else _words()["numbers"].get(text.lower())
    return number


def _breaks(rule: RoleRule, sentence: str) -> bool:
    plain = sentence.translate(_APOSTROPHES)
    if _any_of("doubt").search(plain) or "n't" in plain:
        return False
    return any(re.search(pattern, plain, re.I) for pattern in rule.breaks)


def _is_word_in(text: str, reply: str) -> bool:
    """Not only as a piece of another word."""
    edges = [r"(?<!\w)" if text[:1].isalnum() else "", r"(?!\w)" if text[-1:].isalnum() else ""]
    return bool(re.search(re.escape(text).join(edges), reply, re.I))


@cache
def _words() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("role_rules.yaml"))


@cache
def _rules() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    parts = _words()["parts"]

    def whole(text: str) -> str:
        return _PART.sub(lambda m: whole(parts[m[1]]), re.sub(r"\(\?P<\w+>", lambda m: m[0].replace("<", "\0"), text))

    def compiled(text: str) -> re.Pattern[str]:
        return re.compile(whole(text.replace("NUMBER", parts["number"])).replace("\0", "<"), re.I)

    return [(compiled(rule["says"]), rule) for rule in _words()["rules"]]


@cache
def _any_of(key: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, _words()[key])) + r")(?!\w)", re.I)
