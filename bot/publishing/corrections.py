"""A reply that a customer turned down becomes an example of a new version of a prompt, or a case of it.

No label moves: customers meet what they met before. Personal data is replaced before anything is written, in what a lead
adds as well.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bot.errors import Conflict, InvalidMessage, NotFound, PromptError, faults
from bot.journal.feedback import Entry
from bot.journal.journal import Journal
from bot.limits import check_text
from bot.personal.scrub import scrub
from bot.prompts.case_file import add_case
from bot.prompts.cases import Case, Cases
from bot.prompts.examples import with_example
from bot.prompts.library import PromptLibrary
from bot.prompts.lint import Finding, lint
from bot.prompts.schema import Prompt, literal, plain_lines
from bot.prompts.version import PromptVersion


@dataclass(frozen=True, slots=True)
class Target:
    """The prompt, and the latest version that its lead has seen."""

    name: str
    latest: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a case asks of a reply. `similar` is the least likeness to the corrected reply, 0 where that does not matter."""

    name: str
    similar: float
    contains: Sequence[str]
    lacks: Sequence[str]


NOTHING = Wanted("", 0.0, (), ())


@dataclass(frozen=True, slots=True)
class Correction:
    """A customer's message and the reply to give, after earlier exchanges of both; the note of an example, or what a case
    asks. `replaced` counts personal data by kind that became placeholders in any of it."""

    earlier: tuple[tuple[str, str], ...]
    customer: str
    agent: str
    replaced: Mapping[str, int]
    note: str = ""
    wanted: Wanted = NOTHING


def proposed(entry: Entry) -> Correction:
    """The exchange as it was, for a lead to correct."""
    earlier = [text for turn in entry.earlier if turn.heard for text in (turn.question, turn.reply)]
    return _scrubbed(earlier, entry.turn.question, entry.turn.reply)


def corrected(entry: Entry, customer: str, agent: str, note: str = "", wanted: Wanted = NOTHING) -> Correction:
    """What a lead made of it. Raises InvalidMessage for a message or reply that is empty or too long."""
    for text, what in ((customer, "The customer's message"), (agent, "The corrected reply")):
        check_text(text, what)
    earlier = [text for pair in proposed(entry).earlier for text in pair]
    return _scrubbed(earlier, customer.strip(), agent.strip(), note.strip(), wanted)


def _scrubbed(earlier: Sequence[str], customer: str, agent: str, note: str = "", wanted: Wanted = NOTHING) -> Correction:
    counts: Counter[str] = Counter()
    asked = [wanted.name.strip(), *wanted.contains, *wanted.lacks]
    texts = scrub([plain_lines(text) for text in (*earlier, customer, agent, note, *asked)], counts)
    before, (customer, agent, note, name), rest = texts[: len(earlier)], texts[len(earlier) :][:4], texts[len(earlier) + 4 :]
    contains, lacks = rest[: len(wanted.contains)], rest[len(wanted.contains) :]
    pairs = tuple(zip(before[::2], before[1::2], strict=True))
    return Correction(pairs, customer, agent, counts, note, Wanted(name, wanted.similar, tuple(contains), tuple(lacks)))


def drafted(library: PromptLibrary, entry: Entry, correction: Correction, target: Target, author: str) -> Prompt:
    """The latest version with the correction as an example. Raises PromptError, and InvalidMessage where nothing is
    corrected."""
    _check_changed(entry, correction)
    latest = library.get(f"{target.name}@{target.latest}").prompt
    source = f"turn {entry.turn.id}, conversation {entry.turn.conversation_id}"
    return with_example(latest, correction.customer, correction.agent, source, author, correction.note)


async def advice(library: PromptLibrary, name: str, draft: Prompt) -> list[Finding]:
    """What is likely wrong with a draft's last example."""
    cases = Cases()
    # Cases that cannot be read say so where they are run; they keep nobody from writing an example.
    with contextlib.suppress(PromptError):
        cases = library.cases(name)
    place = f"examples[{len(draft.examples)}]"
    return [finding for finding in await lint(draft, cases) if finding.place.startswith(place)]


def make_example(
    library: PromptLibrary, journal: Journal, entry: Entry, target: Target, draft: Prompt, who: str
) -> PromptVersion:
    """The draft as the next version, and the entry done. Raises Conflict where another version was saved since, or the
    entry was handled; nothing is overwritten then."""
    _check_open(journal, entry)
    saved = library.save(target.name, draft, target.latest)
    _done(journal, entry, who, f"an example of {saved.ref}")
    return saved


def make_case(library: PromptLibrary, journal: Journal, entry: Entry, name: str, correction: Correction, who: str) -> Case:
    """The correction as a case of a prompt, and the entry done. Raises PromptError for a case that does not fit, Conflict
    where the entry was handled."""
    library.versions(name)
    if correction.wanted.similar:
        _check_changed(entry, correction)
    case = _case(correction, correction.wanted)
    _check_open(journal, entry)
    add_case(library.root / name, case, f"From feedback on turn {entry.turn.id}, by {who}.")
    _done(journal, entry, who, f"the case “{case.title}” of {name}")
    return case


def _case(correction: Correction, wanted: Wanted) -> Case:
    expect: list[dict[str, Any]] = [{"contains": literal(text)} for text in wanted.contains]
    expect += [{"not_contains": literal(text)} for text in wanted.lacks]
    if wanted.similar:
        expect.append({"similar": {"to": literal(correction.agent), "at_least": wanted.similar}})
    if not expect:
        raise InvalidMessage("The case asks for nothing.", "Say what a reply must or must not contain, or ask for likeness.")
    try:
        return Case.model_validate(
            {
                "name": wanted.name,
                "message": correction.customer,
                "history": [{"customer": said, "agent": reply} for said, reply in correction.earlier],
                "expect": expect,
            }
        )
    except ValidationError as error:
        raise PromptError(f"The case is not valid: {faults(error)}.", "Change it and try again.") from None


def _check_changed(entry: Entry, correction: Correction) -> None:
    if correction.agent == proposed(entry).agent.strip():
        raise InvalidMessage("The reply is still the one that was turned down.", "Correct it first, or dismiss the entry.")


def _check_open(journal: Journal, entry: Entry) -> None:
    found = journal.feedback.entry(entry.turn.id).feedback
    if found.state != "open":
        raise Conflict(f"This entry is {found.state} by now, by {found.handled_by}.", "Reload the queue.")


def _done(journal: Journal, entry: Entry, who: str, became: str) -> None:
    try:
        journal.feedback.move(entry.turn.id, "open", "done", who, became)
    except (Conflict, NotFound) as error:
        raise Conflict(f"It became {became}. Meanwhile: {error.what}", error.hint) from None
