"""Embeddings of what is compared: each distinct text once, in batches, remembered for as long as arms are measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bot.types import Embedder

if TYPE_CHECKING:
    import numpy as np

TOGETHER = 512
"""Texts that are embedded in one call; the embedder sorts them by length."""


class Meanings:
    """An `Embedder` that asks another one for each text once. `learn` first what `likeness` is asked about."""

    def __init__(self, embedder: Embedder) -> None:
        self.id = embedder.id
        self._embedder = embedder
        self._known: dict[str, np.ndarray] = {}

    async def learn(self, texts: Iterable[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for start in range(0, len(new), TOGETHER):
            some = new[start : start + TOGETHER]
            self._known.update(zip(some, await self._embedder.embed(some), strict=True))

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        await self.learn(texts)
        return np.stack([self._known[text] for text in texts])

    def likeness(self, one: str, other: str) -> float:
        """Cosine, -1 to 1; of a text with itself exactly 1, of silence with a text 0."""
        if one == other:
            return 1.0
        if not one.strip() or not other.strip():
            return 0.0
        return float(self._known[one] @ self._known[other])

    def close(self) -> None:
        """The embedder is another's to close."""
