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
