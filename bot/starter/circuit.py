"""Starting weights with a copying circuit in place, because plain training does not find one in a CPU's budget.

Why. A reply must repeat what the prompt says: "…refunds take [5 days]". The known mechanism is an *induction circuit*
of two heads: one lets every token know its predecessor, the other looks for the place whose predecessor is the present
token and copies what stood there. From a usual start it appears only after very many tokens; written in by hand it
works before the first step, and training refines it like any other weight. The network stays a plain Llama.

How. Embeddings have unit scale and three parts: dimension 0 is a constant, the middle holds the token's identity, the
last `head` dimensions start (almost) empty as a scratch space.
1. Layer 0, head 0, finds the previous token. Its query and key read only the constant, so the score depends on the
   distance alone, through RoPE's phases: a sum of cosines, one per pair, fitted by least squares to peak at
   distance 1. Its value is a projection P of the identity, written into the scratch space.
2. Layers 2 and 3, head 0, look for the scratch space (predecessor's P) that matches P of the present token, on the
   pairs that RoPE turns slowest, so that distance hardly matters; they copy the identity found there to the output.
3. The heads that training shows where to look (`HEADS` in model.py) pass identities on through one subspace: the words of a
   passage get their passage's number, the place of a choice gets the meanings of the customer's words, and then the
   number of the passage it looks at. The head that looks there matches identities with identities: likeness of words, to
   begin with.
The final norm starts at 0.03, so that unit-scale embeddings give logits of a sensible size.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from bot.starter.model import HEADS, Layer, Shape, Starter

CONSTANT = 6.0
_FIT_RANGE = 700
_PAIRS = 14
_MATCH_GAIN = 16.0
_COPY_GAIN = 2.0
_PREVIOUS_GAIN = 48.0


def _orthonormal(size: int, rows: int, random: torch.Generator) -> Tensor:
    basis: Tensor = torch.linalg.qr(torch.randn(size, size, generator=random))[0]
    return basis[:rows]


def _previous_token_phases(shape: Shape) -> tuple[Tensor, Tensor]:
    """Per RoPE pair: its frequency, and the weight that makes the sum of cosines peak at distance 1."""
    frequency = shape.theta ** -(torch.arange(0, shape.head, 2).float() / shape.head)
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


@torch.no_grad()
def install_circuit(model: Starter, seed: int = 0, identity: Tensor | None = None) -> None:
    """Write embeddings, previous-token head and two induction heads. `identity` replaces the random identities."""
    shape, random = model.shape, torch.Generator().manual_seed(seed)
    head, half, middle = shape.head, shape.head // 2, shape.hidden - shape.head
    first = slice(0, head)
    embedding = torch.randn(shape.vocabulary, shape.hidden, generator=random)
    embedding[:, middle:] *= 0.02
    if identity is not None:
        embedding[:, 1:middle] = identity
    embedding[:, 0] = CONSTANT
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
    projection = _orthonormal(middle - 1, head, random)
    layer.v[first, 1:middle] = projection
    layer.o[middle:, first] = torch.eye(head) * scale

    pairs = min(_PAIRS, half // 2)
    slow = [*range(half - pairs, half), *range(head - pairs, head)]
    gain = math.sqrt(_MATCH_GAIN * math.sqrt(head) / (2 * pairs / scale**2))
    for number, depth in enumerate(sorted({min(2, shape.layers - 1), min(3, shape.layers - 1)})):
        layer = layers[depth]
        rows = list(range(2 * pairs * number, 2 * pairs * (number + 1)))
        for matrix in (layer.q, layer.k, layer.v):
            matrix[first] = 0
        layer.o[:, first] = 0
        layer.q[slow, 1:middle] = projection[rows] * gain
        for dimension, row in zip(slow, rows, strict=True):
            layer.k[dimension, middle + row] = gain
        reading = _orthonormal(middle - 1, head, random)
        layer.v[first, 1:middle] = reading
        layer.o[1:middle, first] = _COPY_GAIN * reading.T * scale
    for layer in layers:
        layer.down.mul_(0.3)
        layer.o[:, head:] *= 0.3
    reading = _orthonormal(middle - 1, head, random)
    for depth, place in HEADS:
        layer, mine = layers[min(depth, shape.layers - 1)], slice(place * head, (place + 1) * head)
        layer.v[mine] = 0
        layer.v[mine, 1:middle] = reading
        layer.o[:, mine] = 0
        layer.o[1:middle, mine] = _COPY_GAIN * reading.T * scale
    depth, place = HEADS[0]
    layer, likeness = layers[min(depth, shape.layers - 1)], _orthonormal(middle - 1, 2 * pairs, random)
    for matrix in (layer.q, layer.k):
        matrix[place * head : (place + 1) * head] = 0
        for dimension, row in zip(slow, likeness, strict=True):
            matrix[place * head + dimension, 1:middle] = row * gain
