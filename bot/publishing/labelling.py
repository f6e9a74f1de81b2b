"""Putting a label on a version: `production`, and the label that customers meet, ask that the version's cases pass, and what
customers meet that they can be answered; or it is forced, and that is kept. Taking a version back is putting the label where
it was before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import Conflict, PromptError
from bot.journal.journal import Journal
from bot.journal.models import LabelMove
from bot.prompts.library import PRODUCTION, PromptLibrary
from bot.prompts.render import fill_variables
from bot.prompts.version import PromptVersion
from bot.publishing.trial import Outcome
from bot.refs import check_label, parse_ref

LABELS = (PRODUCTION, "staging")
"""Those that every prompt may be expected to have."""


@dataclass(frozen=True, slots=True)
class Wish:
    """`expected` is where the label was when the person looked, None where it was not there."""

    label: str
    who: str
    why: str
    expected: int | None
    force: bool = False


def check_wish(journal: Journal, version: PromptVersion, wish: Wish, customers: str) -> None:
    """Raises PromptError for a wish that no case can help, so that none is run for it. `customers` is the reference of the
    prompt that customers meet, "" where they meet none."""
    if not wish.why.strip():
        raise PromptError("A label is moved for a reason.", 'Say it, like --why "shorter replies".')
    label = check_label(wish.label)
    here = (version.version, version.prompt.hash)
    # Where the content changed, the label is put anew.
    if wish.expected == version.version and journal.resolve(version.name, label) == here:
        raise PromptError(f"{version.name}@{label} is on version {version.version} already.", "Nothing was changed.")
    if (lacking := _lacking(version, label, customers)) and not wish.force:
        raise PromptError(
            f"Under {version.ref} no customer would be answered: their messages give no variables. {lacking}",
            "Give them a default, or force it, which is recorded.",
        )


def asks_for_cases(name: str, label: str, customers: str) -> bool:
    """Whether the label stands for a version whose cases passed. `customers` is as for `check_wish`."""
    return label == PRODUCTION or _is_met(name, label, customers)


def _is_met(name: str, label: str, customers: str) -> bool:
    """Whether the label says which version customers meet."""
    met, pointer = parse_ref("prompt", customers) if customers else ("", "")
    return (met, pointer or PRODUCTION) == (name, label)


def _lacking(version: PromptVersion, label: str, customers: str) -> str:
    """What customers' messages would lack, where the label makes the version the one that they meet."""
    if not _is_met(version.name, label, customers):
        return ""
    try:
        fill_variables(version.prompt, {})
    except PromptError as error:
        return error.what
    return ""


def put_label(
    journal: Journal, version: PromptVersion, wish: Wish, outcomes: Sequence[Outcome], customers: str = ""
) -> bool:
    """Whether the label was put by force. `outcomes` are those of the version's cases, where the label asks for them;
    `customers` is as for `check_wish`. Raises PromptError where they fail and nothing is forced, Conflict where the label
    moved."""
    check_wish(journal, version, wish, customers)
    asked = asks_for_cases(version.name, wish.label, customers)
    failed = [outcome.case for outcome in outcomes if not outcome.passed] if asked else []
    if failed and not wish.force:
        raise PromptError(
            f"{version.ref} fails {len(failed)} of {len(outcomes)} cases: {'; '.join(failed)}.",
            "Mend it, or force it, which is recorded.",
        )
    forced = bool(failed or _lacking(version, wish.label, customers))
    journal.put_label(
        version.name, wish.label, version.version, version.prompt.hash, wish.who, wish.expected, wish.why.strip(), forced
    )
    return forced


def told(version: PromptVersion, wish: Wish, outcomes: Sequence[Outcome], forced: bool, customers: str) -> str:
    """What became of a wish that was granted, for who had it; with what customers meet, where that is something else.
    `customers` is as for `check_wish`."""
    before = f", before on version {wish.expected}" if wish.expected else ""
    said = [f"{wish.label} is on version {version.version} now{before}{', forced' if forced else ''}."]
    if not outcomes and asks_for_cases(version.name, wish.label, customers):
        said.append(f"{version.name} has no cases: nothing was tried.")
    if wish.expected is None and wish.label not in LABELS:
        said.append("It is a new label.")
    if not _is_met(version.name, wish.label, customers):
        said.append(f"Customers meet {customers or 'no prompt'}.")
    return " ".join(said)


def way_back(moves: Sequence[LabelMove], label: str) -> tuple[LabelMove, LabelMove] | None:
    """A label's latest move, and the latest one to another version; None where it was on no other. `moves` are a prompt's,
    the latest first. A label that was put anew, for its version's content had changed, leads to no content that is left."""
    own = [move for move in moves if move.label == label]
    return next(((own[0], move) for move in own if move.version != own[0].version), None)


def undo(journal: Journal, library: PromptLibrary, name: str, label: str, who: str, seen: int) -> tuple[int, int]:
    """Put a label back to where its latest move took it from → the versions that it was on and is on now. `seen` is the id
    of that move, as the person saw it.

    Nothing is run, because taking back must not wait: the version's cases were asked for when it was put there, and whether
    that was forced is kept. Raises Conflict where the label moved since, PromptError where it was nowhere before or the
    version's content is no longer what it was.
    """
    way = way_back(journal.label_moves(name), label)
    if way is None:
        raise PromptError(f"{name}@{label} was nowhere before.", "Put it on another version instead.")
    last, before = way
    if last.id != seen:
        raise Conflict(f"{last.who} moved {name}@{label} to version {last.version} meanwhile.", "Look again, then decide.")
    version = library.get(f"{name}@{before.version}")
    if version.prompt.hash != before.hash:
        raise PromptError(
            f"{version.ref} is not what {label} was on before: its content changed.",
            "Versions never change: restore the file, or put the label anew.",
        )
    why = f"Undone: {last.why}" if last.why else "Undone."
    journal.put_label(name, label, version.version, before.hash, who, last.version, why, before.forced)
    return last.version, version.version
