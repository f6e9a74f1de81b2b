"""Token identities that carry word meaning: the bundled MiniLM's embedding of every token's text, projected.

Contract: `identities(texts, size, encoder)` gives one row of unit scale per token. Whole words get MiniLM's meaning
(centred, reduced to their main directions, evened out) mixed with a random identity, so that words of like meaning
lie near each other and still differ; pieces, digits and control tokens stay random.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bot.starter.meaning import Encoder

_SHARE = 0.8
"""The part of a word's energy that is meaning."""
_EVENING = 0.5
"""0 keeps the spread of the main directions, 1 makes all equal."""


def identities(texts: Sequence[str], size: int, encoder: Encoder) -> Tensor:
    """One row per token text."""
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(len(texts), size, generator=random)
    words = [place for place, text in enumerate(texts) if is_word(text)]
    vectors = torch.from_numpy(encoder.encode([texts[place].strip() for place in words])).double()
    vectors = vectors - vectors.mean(0)
    _, spread, directions = torch.linalg.svd(vectors, full_matrices=False)
    kept = directions[: min(size, len(spread))]
    meaning = (vectors @ kept.T) * (spread[: len(kept)] + 1e-6) ** -_EVENING
    meaning = meaning / meaning.pow(2).mean(1, keepdim=True).sqrt()
    rows[words, : len(kept)] = _SHARE**0.5 * meaning.float() + (1 - _SHARE) ** 0.5 * rows[words, : len(kept)]
    return rows


def is_word(text: str) -> bool:
    """True for a token that is a word of three letters or more, with or without the space before it."""
    return len(text.strip()) >= 3 and text.strip().isalpha() and text.strip().isascii()
