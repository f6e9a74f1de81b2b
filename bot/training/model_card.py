"""An adapter's README.md in the model hub's format, made from the facts on its card."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from bot.adapters.card import Card, Gate
from bot.training.result import MEASURES, Sample


def model_card(card: Card, samples: Sequence[Sample]) -> str:
    """Markdown with front matter. `base_model` is named there only where it is a hub's id."""
    front = {"library_name": "peft", "pipeline_tag": "text-generation", "tags": [card.method, "customer-service"]}
    if "/" in card.base:
        front["base_model"] = card.base.partition("@")[0]
    metrics = card.metrics
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {card.name}, version {card.version}",
        f"{_what(card)} on `{card.base}`, made {card.made} with Switchboard. `card.yaml` holds"
        " the hashes of base, tokenizer, chat template, prompt, data and files.",
        "## Use",
        card.intended_use,
        "## Limits",
        card.limits,
        "## Training",
        f"{metrics['training_rows']:.0f} replies of {metrics['training_conversations']:.0f} conversations, loss on the"
        f" replies only; {metrics['held_out_rows']:.0f} replies of {metrics['held_out_conversations']:.0f} other"
        f" conversations held out. {metrics['bad_rows']:.0f} rows could not be used, {metrics['too_long_rows']:.0f} were too"
        f" long. {metrics['epochs']:g} epochs in {metrics['seconds']:.0f} s; the best one is kept.",
        "```yaml\n" + yaml.safe_dump(card.recipe, sort_keys=False, default_flow_style=None) + "```",
        "## Held out",
        "\n".join(
            ["| | base | adapter |", "| --- | --- | --- |"]
            + [
                f"| {words} | {format(metrics[key + '_base'], form)} | {format(metrics[key], form)} |"
                for words, key, form in MEASURES
            ]
        ),
        "Loss is in nats a token, over the replies' tokens.",
        "## Gates",
        gate_table(card.gates),
        *(_exchange(sample) for sample in samples),
    ]
    return "\n\n".join(parts) + "\n"


def gate_table(gates: Sequence[Gate]) -> str:
    """Markdown."""
    rows = [f"| {gate.name} | {gate.value:.4g} | {gate.limit:.4g} | {gate.words} |" for gate in gates]
    return "\n".join(["| gate | figure | limit | |", "| --- | --- | --- | --- |", *rows])


def _what(card: Card) -> str:
    if card.method == "soft-prompt":
        return f"A soft prompt of {card.recipe['virtual_tokens']} virtual tokens"
    return f"A LoRA of rank {card.recipe['rank']}"


def _exchange(sample: Sample) -> str:
    rows = (("Customer", sample.question), ("Base", sample.base), ("Adapter", sample.adapter))
    return "\n".join(f"- **{who}:** {' '.join(text.split())}" for who, text in rows)
