"""Decoder layers of the Llama family (Llama, Qwen2, Mistral) in fewer operations.

Contract: `replace_layers` puts a `Layer` where each decoder layer of a known kind stood; what it computes is the same, in
another order of rounding. On a CPU the many small operations of a layer take as long as reading a small model's weights
does, so queries and keys are turned in one go and norms take half the steps; where there are kernels, they do all but the
products, and for one token a row attention too. A model of another kind is left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bot.engine.local.in_place import InPlace, Lines
from bot.engine.local.projections import Group, Part, Projections

if TYPE_CHECKING:
    from bot.engine.local.kernels import Kernels

KINDS = {"LlamaDecoderLayer", "Qwen2DecoderLayer", "MistralDecoderLayer"}
"""Layers that are a normalisation, rotary attention, a normalisation and a gated product, each added to its input."""
_GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))


def replace_layers(model: Any, projections: Projections, attention: Any, kernels: Kernels | None) -> None:
    """`attention` is called as transformers calls its own; where there are `kernels`, they do a single token's."""
    body = model.base_model
    layers = getattr(body, "layers", ())
    if layers and all(_known(layer) for layer in layers):
        for number, old in enumerate(layers):
            layers[number] = Layer(old, projections, attention, kernels)
        body.rotary_emb = Turns(body.rotary_emb)


def _known(layer: Any) -> bool:
    if type(layer).__name__ not in KINDS or layer.self_attn.config.hidden_act != "silu":
        return False
    parts = [[getattr(half, name) for name in names] for half, names in _halves(layer)]
    # Not where a layer is quantised, say, and so was left as it is.
    return all(type(part) is Part and part.group.size == len(group) for group in parts for part in group)


def _halves(layer: Any) -> list[tuple[Any, tuple[str, ...]]]:
    return [(layer.self_attn if n < 2 else layer.mlp, names) for n, names in enumerate(_GROUPS)]


class Turns(nn.Module):
    """Stands where the rotary embedding stood: cosines, and sines with the sign that turning by a half asks for, each
    (rows, tokens, 1, width) so that queries and keys are turned in one go."""

    def __init__(self, old: nn.Module) -> None:
        super().__init__()
        self._old = old

    def forward(self, x: Tensor, position_ids: Tensor, *more: Any) -> tuple[Tensor, Tensor]:
        cos, sin = self._old(x, position_ids, *more)
        sin[..., : sin.shape[-1] // 2] *= -1
        return cos.unsqueeze(2), sin.unsqueeze(2)


class Layer(nn.Module):
    """Stands where a decoder layer stood."""

    def __init__(self, old: Any, projections: Projections, attention: Any, kernels: Kernels | None) -> None:
        super().__init__()
        self._projections, self._attention, self._kernels = projections, attention, kernels
        self._into, self._ahead, self._gated, self._down = (getattr(half, names[0]).group for half, names in _halves(old))
        self._norms = old.input_layernorm, old.post_attention_layernorm
        for norm in self._norms:
            norm.epsilon = torch.full((1,), norm.variance_epsilon, device=norm.weight.device)
        self._old = old.self_attn
        self._width = old.self_attn.head_dim
        asking, keys, _ = self._into.widths
        self._asking, self._turned = asking // self._width, (asking + keys) // self._width

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        *,
        position_embeddings: tuple[Tensor, Tensor],
        past_key_values: Any,
        **_: Any,
    ) -> Tensor:
        if self._kernels:
            return self._by_kernels(hidden_states, attention_mask, position_embeddings, past_key_values, self._kernels)
        product, x = self._projections.product, hidden_states
        heads = product(self._into, _normed(x, self._norms[0]))
        seen = self._attend(heads, attention_mask, position_embeddings, past_key_values)
        x = product(self._ahead, seen).add_(x)
        gate, up = product(self._gated, _normed(x, self._norms[1])).chunk(2, -1)
        return product(self._down, F.silu(gate).mul_(up)).add_(x)

    def _by_kernels(
        self, x: Tensor, mask: Tensor | None, turns: tuple[Tensor, Tensor], window: Any, kernels: Kernels
    ) -> Tensor:
        first, second = self._norms
        normed = _normed(x, first) if x.dtype == torch.float64 else kernels.norm(x, first.weight, first.variance_epsilon)
        heads, lines = self._begin(self._into, normed)
        if x.shape[1] == 1:
            held = window.held(heads.view(len(x), -1, 1, self._width)[:, self._turned :], self._old.layer_idx)
            seen = kernels.attend(normed, heads, lines, turns, held, window.starts, self._old.scaling)
        else:
            seen = self._attend(heads, mask, turns, window)
        y, lines = self._begin(self._ahead, seen)
        if x.dtype == torch.float64:
            normed = _normed(kernels.join(seen, y, lines, x), second)
        else:
            normed = kernels.join(seen, y, lines, x, (second.weight, second.variance_epsilon))
        halves, lines = self._begin(self._gated, normed)
        gated = kernels.gate(normed, halves, lines)
        down, lines = self._begin(self._down, gated)
        return kernels.join(gated, down, lines, y)

    def _begin(self, group: Group, x: Tensor) -> tuple[Tensor, Lines | None]:
        """The base's product, and what a kernel is to add to it first."""
        stack = self._projections.stack
        if isinstance(stack, InPlace):
            return group.product(x), stack.lines(group)
        return self._projections.product(group, x), None

    def _attend(self, heads: Tensor, mask: Tensor | None, turns: tuple[Tensor, Tensor], window: Any) -> Tensor:
        cos, sin = turns
        heads = heads.view(*heads.shape[:2], -1, self._width)
        plain = heads[:, :, : self._turned]
        one, other = plain.chunk(2, -1)
        turned = torch.addcmul(plain * cos, torch.cat((other, one), -1), sin)
        q, k, v = turned[:, :, : self._asking], turned[:, :, self._asking :], heads[:, :, self._turned :]
        k, v = window.update(k.transpose(1, 2), v.transpose(1, 2), self._old.layer_idx)
        seen, _weights = self._attention(self._old, q.transpose(1, 2), k, v, mask, scaling=self._old.scaling)
        return seen.flatten(2)  # type: ignore[no-any-return]


def _normed(x: Tensor, norm: Any) -> Tensor:
    # transformers rounds to float32 here whatever the model is in; for float64, which tests compare in, so must we.
    if x.dtype == torch.float64:
        return norm(x)  # type: ignore[no-any-return]
    # Half the operations of torch's own on a CPU: it squares, averages, adds, and so on, each by itself.
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    scale = torch.addcmul(norm.epsilon, length, length, value=1 / x.shape[-1]).rsqrt_()
    return (x * scale).to(x.dtype).mul_(norm.weight)
