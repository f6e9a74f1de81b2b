"""Classifiers that stand on an encoder: read once, kept by content hash, asked one text at a time in a thread of their own.

The encoder is in memory once for all of them; each classifier is the tensors that it puts in place of the encoder's own.
The causal base and its thread know nothing of this, so a label costs the chats no step.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bot.cores import make_way
from bot.errors import AdapterError, EngineError
from bot.types import Adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The names that training gives its files and its head.
CONFIG, WEIGHTS = "config.json", "model.safetensors"
HEAD = "head.weight", "head.bias"


def load_encoder(folder: Path) -> Any:
    """The encoder in float32. Raises EngineError when it does not load."""
    from transformers import AutoModel

    try:
        return AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True).eval()
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EngineError(f"The encoder in {folder} does not load: {reason}.", "Set encoder: minilm.") from None


def load_encoder_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Its tokenizer, which reads what looks like a control token as the text that it is."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, split_special_tokens=True
    )
    return tokenizer


def read_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Ids of each text, cut at `max_tokens`."""
    ids: list[list[int]] = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
    return ids


def pooled(states: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over each row's tokens: (rows, places, width) → (rows, width), as sentence encoders are trained."""
    mask = attention_mask[..., None].to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1)


@dataclass(frozen=True, eq=False)
class SavedClassifier:
    """`layers` are tensors by the names that the encoder gives its own."""

    layers: Mapping[str, Tensor]
    head: Tensor
    bias: Tensor
    max_tokens: int

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self.layers.values(), self.head, self.bias))


class EncoderClassifiers:
    """At most `limit` bytes of classifiers are kept, the encoders not counted; one that is larger is kept alone."""

    def __init__(self, limit: int = 2**29) -> None:
        self._limit = limit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._encoders: dict[Path, tuple[nn.Module, PreTrainedTokenizerBase]] = {}
        self._kept: OrderedDict[str, SavedClassifier] = OrderedDict()

    async def classify(self, text: str, adapter: Adapter) -> dict[str, float]:
        """Probability of each label. Raises AdapterError for an adapter that stands on no encoder."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._classify, text, adapter)

    @torch.inference_mode()
    def _classify(self, text: str, adapter: Adapter) -> dict[str, float]:
        if adapter.encoder is None:
            raise AdapterError(f"{adapter.ref} stands on no encoder.", "Name a classifier that does.")
        make_way()
        encoder, tokenizer = self._encoder(adapter.encoder)
        classifier = self._get(adapter)
        ids = torch.tensor(read_texts(tokenizer, [text], classifier.max_tokens))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        states = functional_call(encoder, dict(classifier.layers), kwargs=inputs).last_hidden_state
        logits = nn.functional.linear(pooled(states, inputs["attention_mask"])[0], classifier.head, classifier.bias)
        shares = logits.softmax(-1)
        if not bool(shares.isfinite().all()):
            raise EngineError(f"{adapter.ref} gave no finite numbers for this text.", "Train it again.")
        return dict(zip(adapter.labels, shares.tolist(), strict=True))

    def _encoder(self, folder: Path) -> tuple[nn.Module, PreTrainedTokenizerBase]:
        if folder not in self._encoders:
            self._encoders[folder] = load_encoder(folder), load_encoder_tokenizer(folder)
        return self._encoders[folder]

    def _get(self, adapter: Adapter) -> SavedClassifier:
        if adapter.hash not in self._kept:
            self._kept[adapter.hash] = read_classifier(adapter)
        self._kept.move_to_end(adapter.hash)
        while len(self._kept) > 1 and sum(kept.bytes for kept in self._kept.values()) > self._limit:
            self._kept.popitem(last=False)
        return self._kept[adapter.hash]

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def read_classifier(adapter: Adapter) -> SavedClassifier:
    """The verified classifier's tensors. Raises EngineError when they do not load."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = {key: tensor.float() for key, tensor in load_file(adapter.path / WEIGHTS).items()}
        max_tokens = int(json.loads((adapter.path / CONFIG).read_text())["max_tokens"])
        head, bias = (tensors.pop(key) for key in HEAD)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise EngineError(
            f"Adapter {adapter.ref} does not load: {error}.", "bot adapters verify checks its files."
        ) from None
    return SavedClassifier(tensors, head, bias, max_tokens)
