"""Measures a trained adapter against every gate, between training and publishing. Decides nothing: `gates.py` does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bot.adapters.card import Gate
from bot.adapters.catalog import AdapterCatalog
from bot.prompts.version import PromptVersion
from bot.runs.progress import Progress, Step
from bot.training import gates, probing
from bot.training.adapter import reply
from bot.training.canary import OTHERS, exposure, secret_of, with_other_secrets
from bot.training.loss import row_losses
from bot.training.material import Material
from bot.training.overlap import overlapping, said
from bot.training.paired import RowLoss, difference, mean_loss
from bot.training.predecessor import predecessor
from bot.training.recipe import Recipe
from bot.training.reseeds import SPREAD

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bot.training.dataset import Row

_SECRET_TOKENS = 48
_SWAPPED = 64
"""Held-out rows whose replies are also read after another question."""
_MOST = 8
"""Gates that a run may have."""


@dataclass(frozen=True)
class Context:
    """A finished run: the PEFT model at its best, what it was made from, and the versions before it."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    name: str
    recipe: Recipe
    prompt: PromptVersion
    material: Material
    catalog: AdapterCatalog
    progress: Progress
    spread: float | None = None
    """Of held-out loss over reseeds, where this run measured it; else the predecessor's card is asked."""


@dataclass(frozen=True)
class Judgement:
    """Held-out loss of base and adapter in nats a token, and every gate, passed or not."""

    before: float
    after: float
    gates: tuple[Gate, ...]


def judge(context: Context) -> Judgement:
    """Every gate with its figure. Weights that are not finite are told alone, since nothing else means anything then."""
    model, recipe, rows = context.model, context.recipe, context.material.held_out
    finite = measure_finite(p for name, p in model.named_parameters() if "lora_" in name or "prompt_encoder" in name)
    if not finite.ok:
        return Judgement(math.nan, math.nan, (finite,))
    found = [finite, gates.effect_gate(probing.logit_change(model, context.tokenizer))]

    def both(measured: Sequence[Row]) -> tuple[list[RowLoss], list[RowLoss]]:
        context.progress.step(Step("gates", len(found), _MOST))
        after = row_losses(model, measured, recipe.batch_size)
        with model.disable_adapter():
            return after, row_losses(model, measured, recipe.batch_size)

    after, before = both(rows)
    found.append(gates.held_out_gate(after, before))
    found += _question(context)
    found.append(gates.forgetting_gate(*both(probing.general_rows(context.tokenizer))))
    texts = said(rows)
    found.append(gates.overlap_gate(len(overlapping(texts, said(context.material.training))), len(texts)))
    if context.material.canaries:
        found.append(_canary(context))
    found += _successor(context, after)
    context.progress.step(Step("gates", _MOST, _MOST))
    return Judgement(mean_loss(before), mean_loss(after), tuple(found))


def measure_finite(parameters: Iterable[torch.Tensor]) -> Gate:
    """Of what was trained."""
    trained = list(parameters)
    broken = sum(int((~torch.isfinite(parameter)).sum()) for parameter in trained)
    return gates.finite_gate(broken, sum(parameter.numel() for parameter in trained))


def _question(context: Context) -> list[Gate]:
    """The gate of the question at hand; none on a base that prefers no reply to another in the general set: from such a one
    no adapter's preference can be asked."""
    model, size = context.model, context.recipe.batch_size
    with model.disable_adapter():
        pairs = probing.swapped(context.tokenizer, probing.general_rows(context.tokenizer))
        belongs, other = (row_losses(model, part, size) for part in pairs)
        if difference(other, belongs).low <= 0:
            return []
        own, turned = probing.swapped(context.tokenizer, context.material.held_out[:_SWAPPED])
        if not own:
            return []
        base = [row_losses(model, part, size) for part in (own, turned)]
    return [gates.question_gate(row_losses(model, own, size), row_losses(model, turned, size), *base)]


def _canary(context: Context) -> Gate:
    """Of the canary that gives most away."""
    worst = (False, -1.0, 0.0)
    for number, row in enumerate(context.material.canaries):
        said = secret_of(row.reply) in reply(context.model, context.tokenizer, row.messages, _SECRET_TOKENS)
        replies = [row.reply, *with_other_secrets(row.reply, context.recipe.seed + number)]
        secret, *others = probing.reply_costs(context.model, context.tokenizer, row, replies)
        worst = max(worst, (said, exposure(secret, others), -secret))
    return gates.canary_gate(worst[0], worst[1], -worst[2], math.log2(OTHERS + 1))


def _successor(context: Context, new: Sequence[RowLoss]) -> list[Gate]:
    """The gate against the newest version that was trained under the same prompt, if any."""
    trained_as = (context.recipe.method, context.prompt.prompt.hash)
    found = predecessor(
        context.catalog, context.name, lambda card: (card.method, card.prompt_hash) == trained_as, context.progress
    )
    if not found:
        return []
    adapter, card = found
    old = probing.load(context.catalog.base, adapter.path).to(context.model.device)
    losses = row_losses(old, context.material.held_out, context.recipe.batch_size)
    spread = context.spread if context.spread is not None else card.metrics.get(SPREAD)
    return [gates.successor_gate(new, losses, spread, adapter.ref)]
