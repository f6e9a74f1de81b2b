"""Causal attention for rows that are padded on the right and may go on from a beginning that was read apart.

Such rows need no mask: nothing that is read stands before what it may see. Without one torch leaves out the half that
causality forbids. Knows nothing of losses.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from bot.engine.local.model import check_attention
from bot.errors import SettingsError

ROWS = "switchboard-rows"
"""The name under which transformers knows it."""


def attend_without_mask(model: Any) -> None:
    """Have a PEFT model attend so, where each of its layers sees every position before and places do not depend on how many
    there are; others keep their masks."""
    from transformers import AttentionInterface, AttentionMaskInterface

    base = model.get_base_model()
    with suppress(SettingsError):
        check_attention("", base)
        AttentionInterface.register(ROWS, _attend)
        AttentionMaskInterface.register(ROWS, lambda *_, **__: None)
        base.set_attn_implementation(ROWS)


def without_mask(model: Any) -> bool:
    """Whether a PEFT model attends so."""
    return bool(model.get_base_model().config._attn_implementation == ROWS)


def _attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, **more: Any) -> tuple[Tensor, None]:
    """query (rows, heads, tokens, width) stands at the end of key and value → (rows, tokens, heads, width)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    before = key.shape[2] - query.shape[2]
    if before == 0 or query.shape[2] == 1:
        found, _ = sdpa_attention_forward(module, query, key, value, None, **more)
        return found, None
    # torch's causality counts from the first key; queries that nobody reads bring ours to their places.
    padded = torch.nn.functional.pad(query, (0, 0, before, 0))
    found, _ = sdpa_attention_forward(module, padded, key, value, None, **more)
    return found[:, before:], None
