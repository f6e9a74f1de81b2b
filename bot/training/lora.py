"""A LoRA's part of a forward pass, as PEFT defines it, in fewer passes over memory. It changes no result but for chance.

The product is added to the base's while it is computed. Dropout draws random bits by the word, sixteen for each number,
and projections that read the same tensor (query, key and value; gate and up) get the same one back; each number is left
out with its own chance, as in torch, rounded to 1/65,536.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_BITS = 1 << 16


class SharedDropout(nn.Module):
    """`forward(x)` for the projections of one block: the same input object gives the same output object."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._border = round(share * _BITS) - _BITS // 2
        """Of signed 16-bit numbers; those below are left out."""
        self._scale = _BITS / (_BITS - round(share * _BITS))
        self._given: Tensor | None = None
        self._dropped: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            self._given = self._dropped = None
            return x
        if self._dropped is None or x is not self._given:
            words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(1 << 63), None)
            kept = (words.view(torch.int16)[: x.numel()] >= self._border).view(x.shape)
            self._given, self._dropped = x, x * kept.to(x.dtype).mul_(self._scale)
        return self._dropped


class _Added:
    """What PEFT calls a variant of LoRA: how a layer's product joins the base's."""

    @staticmethod
    def forward(module: Any, *, active_adapter: str, x: Tensor, result: Tensor, **_: Any) -> Tensor:
        a, b = module.lora_A[active_adapter], module.lora_B[active_adapter]
        inner = a(module.lora_dropout[active_adapter](x))
        flat = result.view(-1, result.shape[-1])
        scaling = module.scaling[active_adapter]
        return torch.addmm(flat, inner.view(-1, inner.shape[-1]), b.weight.t(), alpha=scaling).view_as(result)


def quicken(model: Any, dropout: float) -> None:
    """Have every LoRA layer of a PEFT model compute so; a layer that PEFT computes in another way keeps that."""
    from peft.tuners.lora import Linear

    for parent in model.modules():
        shared = SharedDropout(dropout) if dropout else None
        for layer in parent.children():
            if isinstance(layer, Linear) and not layer.lora_variant:
                for name in layer.lora_A:
                    layer.lora_variant[name] = _Added
                    if shared:
                        layer.lora_dropout[name] = shared
