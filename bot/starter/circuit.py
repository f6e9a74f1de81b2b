"""Starting weights with two circuits in place, because plain training finds neither in a CPU's budget: copying (here)
and choosing a passage (choosing.py). The network stays a plain Llama, and training refines them like any other weight.

Why. A reply must repeat what the prompt says: "…refunds take [5 days]". The known mechanism is an *induction circuit*
of two heads: one lets every token know its predecessor, the other looks for the place whose predecessor is the present
token and copies what stood there. From a usual start it appears only after very many tokens; written in by hand it
works before the first step.

How. Embeddings have unit scale and the parts that `Parts` names: a constant, the token's identity, two small spaces for
the numbers of passages, and a scratch space that starts (almost) empty.
1. Layer 0, head 0, finds the previous token. Its query and key read only the constant, so the score depends on the
   distance alone, through RoPE's phases: a sum of cosines, one per pair, fitted by least squares to peak at
   distance 1. Its value is a projection P of the identity, written into the scratch space.
2. Layers 2 and 3, head 0, look for the scratch space (predecessor's P) that matches P of the present token, on the
   pairs that RoPE turns slowest, so that distance hardly matters; they copy the identity found there to the output.
The final norm starts at 0.03, so that unit-scale embeddings give logits of a sensible size.

The rate of learning matters as much: Muon makes a full-size step out of any gradient, so at 0.02 the circuits are gone
before the rest of the network can use them; at 0.007 they improve from the first step (NOTES.md).
"""

from __future__ import annotations

import math
from itertools import chain
from typing import cast

import torch
from torch import Tensor

from bot.starter.choosing import LABELS, LEAST_HEAD, Signs, install_choosing, label_tokens
from bot.starter.model import Layer, Shape, Starter

CONSTANT = 6.0
_FIT_RANGE = 700
_PAIRS = 18
_MATCH_GAIN = 16.0
_COPY_GAIN = 2.0
_PREVIOUS_GAIN = 48.0


class Parts:
    """What the dimensions of the residual stream start as: 0 is the constant, the last `head` are the scratch space."""

    def __init__(self, shape: Shape) -> None:
        scratch = shape.hidden - shape.head
        self.identity = slice(1, scratch - 2 * LABELS)
        self.label = slice(scratch - 2 * LABELS, scratch - LABELS)
        self.own = slice(scratch - LABELS, scratch)
        self.scratch = slice(scratch, shape.hidden)

    @property
    def identities(self) -> int:
        """Dimensions of a token's identity."""
        return self.identity.stop - self.identity.start


def _orthonormal(size: int, rows: int, random: torch.Generator) -> Tensor:
    basis: Tensor = torch.linalg.qr(torch.randn(size, size, generator=random))[0]
    return basis[:rows]


def _previous_token_phases(shape: Shape) -> tuple[Tensor, Tensor]:
    """Per RoPE pair: its frequency, and the weight that makes the sum of cosines peak at distance 1."""
    frequency = shape.frequencies()
    distance = torch.arange(_FIT_RANGE).float()
    cosines = torch.cos((distance[:, None] - 1) * frequency[None])
    wanted = torch.full((_FIT_RANGE,), -0.15)
    wanted[0] = wanted[2] = 0.3
    wanted[1] = 1.0
    weight = torch.ones(_FIT_RANGE)
    weight[:8], weight[1] = 60.0, 200.0
    scaled = (cosines * weight[:, None]).T
    fitted = torch.linalg.solve(scaled @ cosines + 0.01 * torch.eye(len(frequency)), scaled @ wanted)
    return frequency, fitted


def slow_dimensions(shape: Shape) -> tuple[list[int], list[int]]:
    """A head's dimensions in the pairs that RoPE turns slowest: first and second half of each pair, slowest last."""
    half = shape.head // 2
    pairs = min(_PAIRS, half // 2)
    return [*range(half - pairs, half)], [*range(shape.head - pairs, shape.head)]


@torch.no_grad()
def install_circuits(model: Starter, seed: int = 0, identity: Tensor | None = None, signs: Signs | None = None) -> None:
    """Write embeddings and circuits. `identity` (vocabulary, `Parts.identities`) replaces the random identities; choosing
    needs the `signs`. Raises ValueError for a shape that has no room for it."""
    shape, random, parts = model.shape, torch.Generator().manual_seed(seed), Parts(model.shape)
    head, half, first = shape.head, shape.head // 2, slice(0, shape.head)
    if signs is not None and (shape.layers < 6 or shape.heads < 2 or head < LEAST_HEAD):
        raise ValueError(
            f"{shape.layers} layers of {shape.heads} heads with {head} dimensions have no room for choosing, which takes "
            f"6 layers of 2 heads with {LEAST_HEAD}. Give more --layers, fewer --heads or more --hidden."
        )
    embedding = torch.randn(shape.vocabulary, shape.hidden, generator=random)
    embedding[:, parts.identity.stop :] *= 0.02
    if identity is not None:
        embedding[:, parts.identity] = identity
    embedding[:, 0] = CONSTANT
    if signs is not None:
        label_tokens(embedding, parts.label, parts.own, signs)
    model.embedding.copy_(embedding)
    model.norm.fill_(0.03)
    scale = embedding.pow(2).mean(1).sqrt().mean().item()

    frequency, fitted = _previous_token_phases(shape)
    size = (fitted.abs() * _PREVIOUS_GAIN * math.sqrt(head) / (CONSTANT / scale) ** 2).sqrt()
    layers = cast(list[Layer], list(model.layers))
    layer = layers[0]
    for matrix in (layer.q, layer.k, layer.v):
        matrix[first] = 0
    layer.o[:, first] = 0
    layer.q[first, 0] = torch.cat([size * torch.cos(frequency), -size * torch.sin(frequency)])
    layer.k[first, 0] = torch.cat([size * fitted.sign(), torch.zeros(half)])
    projection = _orthonormal(parts.identities, head, random)
    layer.v[first, parts.identity] = projection
    layer.o[parts.scratch, first] = torch.eye(head) * scale

    slow = [*chain.from_iterable(slow_dimensions(shape))]
    gain = math.sqrt(_MATCH_GAIN * math.sqrt(head) / (len(slow) / scale**2))
    for number, depth in enumerate(sorted({min(2, shape.layers - 1), min(3, shape.layers - 1)})):
        layer = layers[depth]
        rows = [(len(slow) * number + row) % head for row in range(len(slow))]
        for matrix in (layer.q, layer.k, layer.v):
            matrix[first] = 0
        layer.o[:, first] = 0
        layer.q[slow, parts.identity] = projection[rows] * gain
        for dimension, row in zip(slow, rows, strict=True):
            layer.k[dimension, parts.scratch.start + row] = gain
        reading = _orthonormal(parts.identities, head, random)
        layer.v[first, parts.identity] = reading
        layer.o[parts.identity, first] = _COPY_GAIN * reading.T * scale
    for layer in layers:
        layer.down.mul_(0.3)
        layer.o[:, head:] *= 0.3
    if signs is not None:
        after_bracket = projection @ embedding[signs.bracket, parts.identity]
        install_choosing(layers, shape, parts, CONSTANT / scale, scale, after_bracket, slow_dimensions(shape))
