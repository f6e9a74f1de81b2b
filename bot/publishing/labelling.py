"""Putting a label on a version: `production` asks that the version's cases pass, or is forced, and that is kept.

Taking a version back is putting the label on another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import PromptError
from bot.journal.journal import Journal
from bot.prompts.library import PRODUCTION, PromptVersion
from bot.publishing.trial import Outcome
from bot.refs import check_name


@dataclass(frozen=True, slots=True)
class Wish:
    """`expected` is where the label was when the person looked, None where it was not there."""

    label: str
    who: str
    why: str
    expected: int | None
    force: bool = False


def put_label(journal: Journal, version: PromptVersion, wish: Wish, outcomes: Sequence[Outcome]) -> bool:
    """Whether the label was put against failing cases. `outcomes` are those of the version's cases, which only
    `production` asks for. Raises PromptError where they fail and nothing is forced, Conflict where the label moved."""
    if not wish.why.strip():
        raise PromptError("A label is moved for a reason.", 'Say it, like --why "shorter replies".')
    failed = [outcome.case for outcome in outcomes if not outcome.passed] if wish.label == PRODUCTION else []
    if failed and not wish.force:
        raise PromptError(
            f"{version.ref} fails {len(failed)} of {len(outcomes)} cases: {'; '.join(failed)}.",
            "Mend it, or force it, which is recorded.",
        )
    label = check_name("label", wish.label)
    journal.put_label(
        version.name, label, version.version, version.prompt.hash, wish.who, wish.expected, wish.why.strip(), bool(failed)
    )
    return bool(failed)
