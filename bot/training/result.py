"""What a training run hands back: the new version, its card, and replies before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bot.adapters.card import Card, Gate
from bot.training.formats import BadRow
from bot.types import Adapter

MEASURES = (("held-out loss", "held_out_loss", ".3f"), ("held-out perplexity", "held_out_perplexity", ".2f"))
"""What the before/after table shows: words, key of the card's metrics (the base's ends in `_base`), format."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A held-out question, the greedy replies to it under the recipe's prompt, and what the agent wrote."""

    question: str
    base: str
    adapter: str
    transcript: str


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """A version that is on disk and verified."""

    adapter: Adapter
    card: Card
    samples: tuple[Sample, ...]
    bad_rows: tuple[BadRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "adapter": self.adapter.ref,
            "path": str(self.adapter.path),
            "metrics": self.card.metrics,
            "gates": [gate.model_dump() for gate in self.card.gates],
            "samples": [asdict(sample) for sample in self.samples],
            "bad_rows": [str(row) for row in self.bad_rows],
        }

    def as_text(self) -> str:
        """The before/after table and the replies, for a terminal."""
        metrics = self.card.metrics
        lines = [f"{self.adapter.ref}  {self.adapter.path}", f"{'':22}{'base':>10}{'adapter':>10}"]
        for words, key, form in MEASURES:
            lines.append(f"{words:22}{format(metrics[key + '_base'], form):>10}{format(metrics[key], form):>10}")
        return "\n".join([*lines, *gate_lines(self.card.gates), *_shown(self.samples)])


def gate_lines(gates: Sequence[Gate]) -> list[str]:
    """Their table, for a terminal."""
    lines = [f"{gate.name:22}{gate.value:>10.4g}{gate.limit:>10.4g}  {gate.words}" for gate in gates]
    return ["", f"{'gate':22}{'figure':>10}{'limit':>10}", *lines]


def _shown(samples: Sequence[Sample]) -> list[str]:
    rows = (("Customer", "question"), ("Base", "base"), ("Adapter", "adapter"), ("Transcript", "transcript"))
    return [line for sample in samples for line in ["", *(f"{word:12}{getattr(sample, key)}" for word, key in rows)]]
