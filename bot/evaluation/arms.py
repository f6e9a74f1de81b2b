"""The arms of an evaluation: the set-ups that answer the same turns, each a full agent with every version pinned.

The table of fourteen: seven ways to use a base, each with and without knowledge. Knows nothing of what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from bot.errors import DataError
from bot.types import AgentSpec

Way = Literal["base", "zero-shot", "few-shot", "chain-of-thought", "adapter", "prompt+adapter", "soft-prompt"]
KNOWLEDGE = "+knowledge"


@dataclass(frozen=True, slots=True)
class Arm:
    """`name` is the way, with "+knowledge" behind it where passages are shown; `spec` names versions, never labels;
    `decoding` overrides the prompt's own, by Sampling's field names, so that arms differ in nothing but their way."""

    name: str
    way: Way
    spec: AgentSpec
    decoding: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def with_knowledge(self) -> bool:
        return bool(self.spec.knowledge)


@dataclass(frozen=True, slots=True)
class Parts:
    """What arms are made of, as pinned references: the prompt of each technique, the prompt that the adapter was trained
    under, the adapter, the soft prompt and the prompt that it was trained under, the collection. "" is one that there is
    not: its arms are reported as failed."""

    zero_shot: str = ""
    few_shot: str = ""
    chain_of_thought: str = ""
    adapter: str = ""
    adapter_prompt: str = ""
    soft_prompt: str = ""
    soft_prompt_prompt: str = ""
    knowledge: str = ""


def all_arms(parts: Parts, decoding: Mapping[str, object]) -> list[Arm]:
    """The fourteen, those without knowledge first. An arm whose part is missing is there all the same."""
    ways: list[tuple[Way, str, str]] = [
        ("base", "", ""),
        ("zero-shot", "", parts.zero_shot),
        ("few-shot", "", parts.few_shot),
        ("chain-of-thought", "", parts.chain_of_thought),
        ("adapter", parts.adapter, ""),
        ("prompt+adapter", parts.adapter, parts.adapter_prompt),
        ("soft-prompt", parts.soft_prompt, parts.soft_prompt_prompt),
    ]
    return [
        Arm(way + suffix, way, AgentSpec(adapters, prompt, knowledge), decoding)
        for suffix, knowledge in (("", ""), (KNOWLEDGE, parts.knowledge))
        for way, adapters, prompt in ways
    ]


def chosen(arms: Sequence[Arm], patterns: Sequence[str]) -> list[Arm]:
    """Those that a pattern names, such as `adapter`, `*+knowledge` or `few-shot*`; all where there is no pattern. Raises
    DataError for a pattern that names none."""
    for pattern in patterns:
        if not any(fnmatchcase(arm.name, pattern) for arm in arms):
            raise DataError(f"No arm is called {pattern!r}.", f"There are: {', '.join(arm.name for arm in arms)}.")
    return [arm for arm in arms if not patterns or any(fnmatchcase(arm.name, pattern) for pattern in patterns)]
