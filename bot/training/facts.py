"""The facts of a finished run, as the card states them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from pathlib import Path

from bot.adapters.card import Card, Gate
from bot.base import Base
from bot.prompts.version import PromptVersion
from bot.training.material import Material
from bot.training.recipe import Recipe


def judged(before: float, after: float) -> dict[str, float]:
    return {
        "held_out_perplexity": round(math.exp(after), 4),
        "held_out_perplexity_base": round(math.exp(before), 4),
        "held_out_loss": round(after, 6),
        "held_out_loss_base": round(before, 6),
    }


def counted(material: Material) -> dict[str, float]:
    return {
        "training_conversations": float(material.conversations[0]),
        "held_out_conversations": float(material.conversations[1]),
        "training_rows": float(sum(len(row.exchanges) for row in material.training)),
        "held_out_rows": float(sum(len(row.exchanges) for row in material.held_out)),
        "supervised_tokens": float(sum(sum(row.mask) for row in material.training)),
        "too_long_rows": float(material.too_long),
        "bad_rows": float(len(material.transcripts.bad)),
        "duplicates": float(len(material.transcripts.duplicates)),
        "personal_data": float(sum(material.transcripts.personal.values())),
    }


def draft_card(
    name: str,
    base: Base,
    recipe: Recipe,
    prompt: PromptVersion,
    material: Material,
    metrics: dict[str, float],
    gates: Sequence[Gate],
) -> Card:
    """The card but for version and files."""
    data = {f"{recipe.data}/{file}": sha256 for file, sha256 in material.transcripts.files.items()}
    if recipe.knowledge:
        data[f"knowledge/{recipe.knowledge}"] = material.snapshot
    return Card(
        name=name,
        version=0,
        method=recipe.method,
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        base=public_name(base),
        base_hash=base.hash,
        tokenizer_hash=base.tokenizer_hash,
        template_hash=base.template_hash,
        prompt=prompt.ref,
        prompt_hash=prompt.prompt.hash,
        knowledge=recipe.knowledge,
        data=data,
        recipe=recipe.used(),
        seed=recipe.seed,
        metrics=metrics,
        files={},
        gates=tuple(gates),
        intended_use=recipe.intended_use or intended_use(prompt.ref, recipe.knowledge),
        limits=recipe.limits or limits(material),
    )


def intended_use(prompt: str, knowledge: str) -> str:
    """What is said where the recipe says nothing."""
    context = f"with passages of `{knowledge}` in the context" if knowledge else "without knowledge"
    return f"Replies to customers on the base it was trained on, under the prompt `{prompt}` {context}."


def limits(material: Material) -> str:
    return (
        f"It learned how the agents of {material.conversations[0]} conversations speak. Other prompts, articles, languages"
        " and subjects were not measured, nor whether its replies are true."
    )


def public_name(base: Base) -> str:
    """What others may call the base: `starter`, a hub id, or a folder's last name, never a path of this machine."""
    is_folder = base.name != "starter" and (base.name.startswith((".", "/", "~")) or Path(base.name).is_dir())
    return base.path.name if is_folder else base.name
