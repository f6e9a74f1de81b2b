"""The network that is trained: a plain Llama, written for packed rows, and its way to and from the public format.

Contract: `Starter` runs rows that hold several documents, each seeing only itself; `build_llama` gives a
`transformers.LlamaForCausalLM` with the same logits. Attention is
written as plain products on a CPU (faster there under `torch.compile`) and as SDPA on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = ((5, 1), (1, 1), (4, 1), (3, 1))
"""Layer and head that training shows where to look, by the kinds of `tokens.py`: from the place where a reply's passage is
chosen to that passage; from the words of a passage to its number; from that place to the customer's message; from words of
that message to the passage.

These are heads of the circuit that choosing.py writes into the starting weights; how the rest of the network uses what they
find is left to it."""


@dataclass(frozen=True)
class Shape:
    """The size of the network."""

    vocabulary: int = 8192
    hidden: int = 256
    layers: int = 7
    heads: int = 4
    feed: int = 768
    theta: float = 1e6
    positions: int = 1024

    @property
    def head(self) -> int:
        """Dimensions of one attention head."""
        return self.hidden // self.heads

    def frequencies(self) -> Tensor:
        """Radians per place of each of RoPE's pairs."""
        frequencies: Tensor = self.theta ** -(torch.arange(0, self.head, 2).float() / self.head)
        return frequencies

    def llama_config(self) -> Any:
        """The same shape as a transformers configuration."""
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=self.vocabulary, hidden_size=self.hidden, num_hidden_layers=self.layers,
            num_attention_heads=self.heads, num_key_value_heads=self.heads, head_dim=self.head,
            intermediate_size=self.feed, max_position_embeddings=self.positions, rms_norm_eps=1e-6,
            tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": self.theta},
            bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for checkpoints."""
        return asdict(self)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Llama's root-mean-square norm."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6) * weight).to(x.dtype)


class Layer(nn.Module):
    """One Llama layer. Matrices are kept as bare parameters, cast to the activations' type where they are used."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        hidden, feed, depth = shape.hidden, shape.feed, 0.7 / math.sqrt(2 * shape.layers)
        self.norm1 = nn.Parameter(torch.ones(hidden))
        self.norm2 = nn.Parameter(torch.ones(hidden))
        self.q, self.k, self.v = (self._matrix(hidden, hidden, 0.7) for _ in range(3))
        self.o = self._matrix(hidden, hidden, depth)
        self.gate, self.up = self._matrix(feed, hidden, 0.7), self._matrix(feed, hidden, 0.7)
        self.down = self._matrix(hidden, feed, depth)

    @staticmethod
    def _matrix(rows: int, columns: int, gain: float) -> nn.Parameter:
        return nn.Parameter(torch.randn(rows, columns) * gain / math.sqrt(columns))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The new residual stream, and the queries and keys that made it."""
        rows, length, hidden = x.shape
        y = rms_norm(x, self.norm1)
        joint = F.linear(y, torch.cat([self.q, self.k, self.v]).to(y.dtype))
        q, k, v = joint.view(rows, length, 3, self.shape.heads, self.shape.head).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = attend(q, k, v, visible).transpose(1, 2).reshape(rows, length, hidden)
        x = x + F.linear(mixed, self.o.to(y.dtype))
        y = rms_norm(x, self.norm2)
        inner = F.silu(F.linear(y, self.gate.to(y.dtype))) * F.linear(y, self.up.to(y.dtype))
        return x + F.linear(inner, self.down.to(y.dtype)), q, k


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, in Llama's half-and-half order."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
    """Attention over the visible positions."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2)).float()
    weights = torch.softmax(scores.masked_fill(~visible, -1e9), dim=-1)
    return torch.matmul(weights.to(v.dtype), v)


def missing(q: Tensor, k: Tensor, visible: Tensor, looks: Tensor) -> Tensor:
    """Negative log of a head's attention to the right places, for each look: (rows, looks in a row). `q` and `k` are
    (rows, length, head), `visible` (rows, length, length)."""
    _, place, first, last = looks.unbind(-1)
    chosen = q.gather(1, place[..., None].expand(-1, -1, q.shape[-1])) * q.shape[-1] ** -0.5
    seen = visible.gather(1, place[..., None].expand(-1, -1, k.shape[1]))
    scores = torch.matmul(chosen, k.transpose(1, 2)).float()
    logs = torch.log_softmax(scores.masked_fill(~seen, -1e9), dim=-1)
    where = torch.arange(k.shape[1], device=k.device)
    right = (where >= first[..., None]) & (where < last[..., None])
    return -torch.logsumexp(logs.masked_fill(~right, -1e9), dim=-1)


class Starter(nn.Module):
    """The whole network; embeddings serve as output weights too."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, shape.hidden) * 0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.hidden))

    def forward(
        self, ids: Tensor, documents: Tensor, looks: Tensor, dtype: torch.dtype = torch.bfloat16
    ) -> tuple[Tensor, Tensor]:
        """Final hidden states, and (heads, rows, n): how far each of `HEADS` looks elsewhere, for each of the `looks` (rows,
        n, 4: kind, place, first and last + 1 place). `documents` numbers every position's document; negative is padding."""
        length = ids.shape[1]
        place = torch.arange(length, device=ids.device)
        angles = torch.outer(place.float(), self.shape.frequencies().to(ids.device))
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        same = documents[:, :, None] == documents[:, None, :]
        visible = (same & (place[:, None] >= place[None, :]))[:, None]
        x = F.embedding(ids, self.embedding).to(dtype)
        missed: dict[int, Tensor] = {}
        for number, layer in enumerate(self.layers):
            x, q, k = layer(x, cos, sin, visible)
            for kind, (depth, head) in enumerate(HEADS):
                if number == min(depth, self.shape.layers - 1):
                    missed[kind] = missing(q[:, head], k[:, head], visible[:, 0], looks)
        return rms_norm(x, self.norm), torch.stack([missed[kind] for kind in range(len(HEADS))])

    def losses(self, hidden: Tensor, where: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy at the chosen flat positions."""
        chosen = hidden.reshape(-1, self.shape.hidden).index_select(0, where)
        logits = F.linear(chosen, self.embedding.to(chosen.dtype)).float()
        return F.cross_entropy(logits, targets, reduction="none")


_NAMES = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
    "norm1": "input_layernorm", "norm2": "post_attention_layernorm",
}  # fmt: skip


def to_llama(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict → the one of `LlamaForCausalLM`."""
    found = {"model.embed_tokens.weight": weights["embedding"], "model.norm.weight": weights["norm"]}
    found["lm_head.weight"] = weights["embedding"]
    for name, value in weights.items():
        if name.startswith("layers."):
            _, number, short = name.split(".")
            found[f"model.layers.{number}.{_NAMES[short]}.weight"] = value
    return {name: value.detach().clone().float().cpu() for name, value in found.items()}


def build_llama(shape: Shape, weights: dict[str, Tensor]) -> Any:
    """A transformers model with our weights, in float32."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(shape.llama_config())
    model.load_state_dict(to_llama(weights), strict=True)
    model.tie_weights()
    return model.eval()
