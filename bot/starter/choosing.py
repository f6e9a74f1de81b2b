"""The second circuit of the starting weights: which passage answers? Every word of the question votes.

Contract: `Signs` names the tokens that stand for passages; `label_tokens` and `install_choosing` write the circuit into
fresh weights for circuit.py.

Why. Pooling a question into one vector and comparing it with passages has to be learnt from nothing, and twenty million
tokens did not do it. Voting works from word meaning alone, with half of the drill's choices right by arithmetic (NOTES.md),
and every part of it has a gradient that improves it.

How. Two small spaces hold one dimension per label: the numbers 1 … 9, none, earlier, then two flags. In the *label* space
lies what a token says ("2" says 2), in the *own* space to which passage it belongs. Head 1 of five layers:
1. Layer 1: every word of a passage looks for the nearest number behind a bracket and takes it as its own. A customer's words
   find the speaker's mark instead, and take its flag.
2. Layers 2 and 3: a word of the question looks for words of like identity, that is of like meaning, among those with an own
   passage, and takes their passages as its label. Where nothing is alike it finds the first place, whose label is none.
3. Layer 4: the place of the choice averages the labels of the customer's last words. This is the vote; because the label
   space is part of the tied embedding, it is the logit of the number too.
4. Layer 5: the place looks at the words of the passages voted for: a second, sharper vote, and a way to their text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bot.starter.model import Layer, Shape
from bot.starter.tokens import BOS, END, SPEAKERS

if TYPE_CHECKING:
    from bot.starter.circuit import Parts

LABELS = 13
LEAST_HEAD = 44
"""Dimensions of a head whose slow pairs hold all labels but the flags."""
LABEL = 6.0
_NONE, _USER, _OTHER = 9, 11, 12
_HEAD = 1
_VOTE_GAIN, _PASSAGE_GAIN, _CHOOSE_GAIN = 14.0, 14.0, 1.0
_BRACKET_GAIN, _USER_GAIN = 22.0, 10.0
_OWN_SLOPE, _VOTE_SLOPE = 0.25, 0.2
"""Loss of score per place of distance."""
_RECENCY_FREQUENCY = 0.0024
"""-sin(w d) falls from here to a distance of 650."""
_WRITE = {1: 0.95, 2: 0.8, 3: 0.8, 4: 6.0, 5: 6.0}
_NONE_SHARE = 0.3
"""Most words of a question are like nothing; their votes for none count less."""


@dataclass(frozen=True)
class Signs:
    """The tokens that mean something to the circuit."""

    numbers: tuple[int, ...]
    none: int
    earlier: int
    bracket: int

    @classmethod
    def of(cls, tokenizer: Any) -> Signs:
        """Look them up; each must be one token."""
        texts = [*map(str, range(1, 10)), "none", "earlier", "["]
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        split = [text for text, found in zip(texts, ids, strict=True) if len(found) != 1]
        if split:
            raise ValueError(f"{split} must be one token each; train the tokenizer on the present corpus, with 8,192 tokens")
        *numbers, none, earlier, bracket = (found[0] for found in ids)
        return cls(tuple(numbers), none, earlier, bracket)


def label_tokens(embedding: Tensor, label: slice, own: slice, signs: Signs) -> None:
    """Give tokens their labels, in place."""
    for place, token in enumerate([*signs.numbers, signs.none, signs.earlier]):
        embedding[token, label.start + place] = LABEL
    embedding[BOS, [label.start + _NONE, own.start + _NONE]] = LABEL
    embedding[SPEAKERS["user"], label.start + _USER] = LABEL
    embedding[[END, SPEAKERS["system"], SPEAKERS["assistant"]], label.start + _OTHER] = LABEL


def install_choosing(
    layers: Sequence[Layer], shape: Shape, parts: Parts, constant: float, scale: float, after_bracket: Tensor,
    slow: tuple[list[int], list[int]],
) -> None:  # fmt: skip
    """Write head 1 of layers 1 … 5. `constant` and `scale` are the normed constant and the embeddings' root mean square;
    `after_bracket` is what the scratch space holds after a bracket."""
    size, half = shape.head, shape.head // 2
    start, mine = _HEAD * size, slice(_HEAD * size, (_HEAD + 1) * size)
    passed = slice(start, start + LABELS - 1)
    normed, steady = LABEL / scale, half - 1

    def always(gain: float) -> float:
        """Weight on both sides that gives a score of `gain`."""
        return math.sqrt(gain * math.sqrt(size))

    for depth in range(1, 6):
        layer = layers[depth]
        read = parts.label if depth in (1, 4) else parts.own
        write = parts.own if depth == 1 else parts.label
        for matrix in (layer.q, layer.k):
            matrix[mine] = 0
        layer.v[passed] = 0
        layer.v[passed, read.start : read.stop - 1] = torch.eye(LABELS - 1)
        layer.o[:, mine] = 0
        layer.o[write.start : write.stop - 1, passed] = torch.eye(LABELS - 1) * _WRITE[depth]
        q, k = layer.q[mine], layer.k[mine]
        if depth in (1, 4):
            frequency = shape.frequencies()
            pair = int((frequency - _RECENCY_FREQUENCY).abs().argmin())
            slope = _OWN_SLOPE if depth == 1 else _VOTE_SLOPE
            q[half + pair, 0] = k[pair, 0] = always(slope / frequency[pair].item()) / constant
        if depth == 1:
            gain = always(_BRACKET_GAIN)
            q[steady, 0] = gain / constant
            k[steady, parts.scratch] = gain * scale * after_bracket / after_bracket.pow(2).sum()
            k[steady, parts.label.start + _USER : parts.label.start + _OTHER + 1] = gain / normed
        elif depth in (2, 3):
            spots = [*slow[0], *slow[1]]
            gain = always(_VOTE_GAIN / (len(spots) / scale**2))
            spots.remove(steady)
            for row, dimension in enumerate(spots):
                q[dimension, parts.identity.start + row] = k[dimension, parts.identity.start + row] = gain
            gain = always(_PASSAGE_GAIN)
            q[steady, 0] = gain / constant
            k[steady, parts.own.start : parts.own.start + _NONE + 1] = gain / normed
        elif depth == 4:
            layer.o[parts.label.start + _NONE, start + _NONE] *= _NONE_SHARE
            gain = always(_USER_GAIN)
            q[steady, 0] = gain / constant
            k[steady, parts.own.start + _USER] = gain / normed
        else:
            for row, dimension in enumerate(slow[1][-_USER:]):
                q[dimension, parts.label.start + row] = k[dimension, parts.own.start + row] = _CHOOSE_GAIN**0.5
