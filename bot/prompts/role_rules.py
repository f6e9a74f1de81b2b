"""Rules that a role states in plain words, and whether a reply holds to them: only what the wording leaves no doubt about.

The patterns are in `role_rules.yaml`. A sentence that could hold for some replies only, or under a heading that says when,
is left to people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bot.files import read_yaml
from bot.prompts.assertions import Assertion, failures, sentences

_LISTED = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)])\s+")
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


def rules_of(role: str) -> list[RoleRule]:
    """In the order of the role."""
    return [rule for sentence in _sentences(role) for rule in _read(sentence)]


async def broken(rules: Sequence[RoleRule], reply: str, values: Mapping[str, str], known: Sequence[Assertion]) -> list[str]:
    """One line for each rule that `reply` breaks. `known` are assertions that are checked elsewhere; their endings count as
    such here too."""
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
            told = await failures([rule.assertion, *others], reply, values, (), None)
            apart = await failures(others, reply, values, (), None)
            faults = [fault for fault in told if fault not in apart]
            if rule.assertion.not_contains and not _is_word_in(rule.assertion.not_contains, reply):
                faults = []
        found += [f"The role says “{rule.sentence}” {rule.fault or fault}" for fault in faults[:1]]
    return found


def _sentences(role: str) -> Iterator[str]:
    """Wrapped lines are joined, those of a list stand alone; a list under a heading that may say when is left out."""
    paragraphs: list[tuple[bool, list[str]]] = []
    for line in role.splitlines():
        mark = _LISTED.match(line)
        if mark or not paragraphs or not line.strip():
            paragraphs.append((bool(mark), []))
        paragraphs[-1][1].append(line[mark.end() :] if mark else line)
    heading = ""
    for listed, lines in paragraphs:
        text = " ".join(" ".join(lines).split())
        if not text or (listed and _any_of("unsure").search(heading)):
            continue
        if not listed:
            heading = text.rpartition(". ")[2] if text.endswith(":") else ""
        yield from sentences(text)


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
            assertion = Assertion.model_validate(_held(rule["holds"], groups)) if "holds" in rule else None
            breaks = tuple(
                _put(text, {name: re.escape(found) for name, found in groups.items()}) for text in rule.get("breaks", ())
            )
            yield RoleRule(sentence.strip(), assertion, breaks, rule.get("fault", ""))
            return


def _held(holds: Mapping[str, str], groups: Mapping[str, str]) -> dict[str, Any]:
    """An assertion with what the role says in it."""
    kind, text = next(iter(holds.items()))
    value = _put(text, groups)
    return {kind: _number(value) if kind == "max_sentences" else value}


def _put(text: str, groups: Mapping[str, str]) -> str:
    return _PART.sub(lambda match: groups[match[1]], text)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else int(_words()["numbers"][text.lower()])


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
