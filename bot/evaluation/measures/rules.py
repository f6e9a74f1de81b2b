"""Whether replies obey their prompt's own rules: what `cases.yaml` beside it says of every reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.evaluation.arms import Arm
from bot.evaluation.items import Item
from bot.evaluation.measured import RULES, SHARE, Measured
from bot.evaluation.measures.meaning import Meanings
from bot.evaluation.measures.per_item import ByArm, conversations, mean
from bot.evaluation.replies import Reply
from bot.prompts.assertions import Assertion, failures
from bot.prompts.library import PromptLibrary
from bot.refs import parse_ref


def variables(arm: Arm, prompts: PromptLibrary) -> dict[str, str]:
    """The values that the arm's prompt is filled in with; none without a prompt."""
    if not arm.spec.prompt:
        return {}
    declared = prompts.get(arm.spec.prompt).prompt.variables
    return {name: variable.default for name, variable in declared.items() if variable.default is not None}


async def rules(
    replies: ByArm, items: Sequence[Item], arms: Sequence[Arm], prompts: PromptLibrary, meanings: Meanings
) -> Measured:
    """None for an arm without a prompt, or whose prompt has no rules. Raises PromptError for rules that are not valid."""
    values: dict[str, tuple[float | None, ...]] = {}
    for arm in arms:
        if own := replies.get(arm.name):
            values[arm.name] = await _obeyed(arm, own, items, prompts, meanings)
    return Measured(
        RULES,
        SHARE,
        "higher",
        conversations(items),
        values,
        about="Share of its prompt's own rules for every reply (`every_reply` in its cases.yaml) that a reply obeys; arms"
        " without a prompt, or with one that has no rules, have none.",
    )


async def _obeyed(
    arm: Arm, own: Mapping[str, Sequence[Reply]], items: Sequence[Item], prompts: PromptLibrary, meanings: Meanings
) -> tuple[float | None, ...]:
    asked: list[Assertion] = []
    if arm.spec.prompt:
        asked = prompts.cases(parse_ref("prompt", arm.spec.prompt)[0]).every_reply
    if not asked:
        return (None,) * len(items)
    filled = variables(arm, prompts)
    found: list[float | None] = []
    for item in items:
        passages = item.passages if arm.with_knowledge else ()
        shares = [
            1 - len(await failures(asked, reply.text, filled, passages, meanings)) / len(asked)
            for reply in own.get(item.id, ())
        ]
        found.append(mean(shares))
    return tuple(found)
