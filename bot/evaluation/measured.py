"""A measure over arms and items: what every measure gives, and all that the statistics read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]

FACTS_RIGHT = "facts right"
FACTS_WRONG = "facts wrong"
RULES = "rules"
SIMILARITY = "similarity"
CHRF = "chrF"
REFERENCE_COST = "reference cost"
CONSISTENCY = "consistency"
FORGETTING = "forgetting"
FAIRNESS_GAP = "fairness gap"
"""The measures' names, by which the verdict, the table and the gate find them."""

SHARE = "share"
"""Unit of what lies between 0 and 1, shown as per cent."""
COUNT = "a reply"
"""Unit of what is counted in a reply, from 0."""

MATTERS = {
    FACTS_RIGHT: 0.05,
    FACTS_WRONG: 0.05,
    RULES: 0.05,
    SIMILARITY: 0.02,
    CHRF: 2.0,
    REFERENCE_COST: 0.05,
    CONSISTENCY: 0.05,
    FORGETTING: 0.1,
    FAIRNESS_GAP: 0.05,
}
"""By measure, the smallest difference that a desk would change its set-up for, in the measure's unit. One question in
twenty answered better or worse is seen in the mail; 0.05 nats a token are a twentieth of perplexity."""


@dataclass(frozen=True, slots=True)
class Measured:
    """`values` are, for each arm, one number an item in the items' order, None where the measure does not apply to it.
    `weights` are what an item counts for (tokens of its reference, say), all alike where there are none: an arm's figure is
    the weighted mean of its values. `conversations` are the items', the units that are drawn anew."""

    name: str
    unit: str
    better: Better
    conversations: tuple[str, ...]
    values: Mapping[str, tuple[float | None, ...]]
    weights: tuple[float, ...] = ()
    about: str = ""
    """One sentence for the report: what it is, and how it is counted."""
