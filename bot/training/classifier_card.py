"""What a classifier's run shows: its table for a terminal, and its README.md, from the facts on its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from bot.adapters.card import Card
from bot.training.labelled import Parts
from bot.training.model_card import gate_table
from bot.training.result import TrainedVersion, gate_lines
from bot.training.scores import Confusion, Scores

_SHOWN = 5
_ROWS = (("accuracy", "accuracy"), ("macro-F1", "macro_f1"))
_WHO = (("most frequent", "majority"), ("TF-IDF", "words"), ("classifier", "held_out"))


@dataclass(frozen=True, slots=True)
class LabelRow:
    """How often a label stands in each part, and its held-out F1; None where no held-out message has it."""

    label: str
    training: int
    held_out: int
    f1: float | None


def label_table(parts: Parts, scores: Scores) -> tuple[LabelRow, ...]:
    training, held_out = (Counter(row.label for row in part) for part in (parts.training, parts.held_out))
    return tuple(LabelRow(name, training[name], held_out[name], scores.by_label.get(name)) for name in parts.labels)


@dataclass(frozen=True, slots=True)
class TrainedClassifier(TrainedVersion):
    """A classifier's version that is on disk and verified. `confusions` are of held-out messages, most frequent first."""

    labels: tuple[LabelRow, ...]
    confusions: tuple[Confusion, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "adapter": self.adapter.ref,
            "path": str(self.adapter.path),
            "metrics": self.card.metrics,
            "gates": [gate.model_dump() for gate in self.card.gates],
            "labels": [asdict(row) for row in self.labels],
            "confusions": [asdict(confusion) for confusion in self.confusions],
            "bad_rows": [str(row) for row in self.bad_rows],
        }

    def as_text(self) -> str:
        """The table beside the baselines, the gates, and what is most often taken for what."""
        metrics = self.card.metrics
        lines = [f"{self.adapter.ref}  {self.adapter.path}", f"{'held out':12}" + "".join(f"{who:>15}" for who, _ in _WHO)]
        for words, key in _ROWS:
            lines.append(f"{words:12}" + "".join(f"{metrics[f'{who}_{key}']:>15.3f}" for _, who in _WHO))
        lines += gate_lines(self.card.gates)
        confused = [f"{c.count:4} × {c.wanted} taken for {c.given}" for c in self.confusions[:_SHOWN]]
        return "\n".join([*lines, "", *confused] if confused else lines)


def classifier_card(card: Card, labels: Sequence[LabelRow], confusions: Sequence[Confusion]) -> str:
    """Markdown with front matter. `base_model` is named there only where it is a hub's id."""
    front: dict[str, Any] = {"pipeline_tag": "text-classification", "tags": [card.method, "customer-service"]}
    if card.recipe["backbone"] == "base":
        front["library_name"] = "peft"
    if "/" in card.base:
        front["base_model"] = card.base.partition("@")[0]
    metrics = card.metrics
    head = "| | " + " | ".join(who for who, _ in _WHO) + " |"
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {card.name}, version {card.version}",
        f"{_what(card)}, made {card.made} with Switchboard. `card.yaml` holds the hashes of what it stands on,"
        " its data and files.",
        "## Use",
        f"It gives a customer's message one of {len(card.labels)} labels of {card.recipe['task']}, with the probability of"
        " each. It reads the message alone, not what was said before. Messages of another domain or language were not"
        " measured; one that fits no label gets one all the same.",
        "## Training",
        f"{metrics['training_rows']:.0f} messages of {metrics['training_conversations']:.0f} conversations;"
        f" {metrics['held_out_rows']:.0f} messages of {metrics['held_out_conversations']:.0f} other conversations held out."
        f" {metrics['unlabelled_rows']:.0f} messages have no such label, {metrics['bad_rows']:.0f} rows could not be used."
        f" {metrics['epochs']:g} epochs in {metrics['seconds']:.0f} s; the best one is kept.",
        "```yaml\n" + yaml.safe_dump(card.recipe, sort_keys=False, default_flow_style=None) + "```",
        "## Held out",
        "\n".join(
            [head, "| --- " * (len(_WHO) + 1) + "|"]
            + [
                f"| {words} | " + " | ".join(f"{metrics[f'{who}_{key}']:.3f}" for _, who in _WHO) + " |"
                for words, key in _ROWS
            ]
        ),
        f"Loss is {metrics['held_out_loss']:.3f} nats, at the temperature {metrics['temperature']:.3g}, which these messages"
        " chose; it is in the head's weights.",
        "\n".join(["| label | training | held out | F1 |", "| --- | --- | --- | --- |", *map(_label_line, labels)]),
        *(f"- {c.count} × `{c.wanted}` taken for `{c.given}`" for c in confusions[:_SHOWN]),
        "## Gates",
        gate_table(card.gates),
    ]
    return "\n\n".join(parts) + "\n"


def _what(card: Card) -> str:
    if card.recipe["backbone"] == "base":
        return f"A classifier: a LoRA of rank {card.recipe['rank']} with a head, on `{card.base}`"
    return f"A classifier: a head and the top {card.recipe['unfreeze']} layers, on the encoder `{card.base}`"


def _label_line(row: LabelRow) -> str:
    return f"| {row.label} | {row.training} | {row.held_out} | {'–' if row.f1 is None else format(row.f1, '.2f')} |"
