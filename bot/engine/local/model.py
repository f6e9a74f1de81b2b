"""The base model and the adapters loaded on it. Everything here runs on the engine's one thread.

Adapters are known by content hash, so a new version under an old name is another adapter. A mix is exact without
merging: each active LoRA adds its own product, scaled by (its scaling × weight), whatever its rank.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from bot.base import Base
from bot.engine.local.encode import encode, encode_supervised
from bot.errors import EngineError, InvalidMessage, SettingsError
from bot.types import Adapter, Message, Mix

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_tokenizer(base: Base) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast or not tokenizer.chat_template:
        raise SettingsError(
            f"The base {base.name!r} has no {'chat template' if tokenizer.is_fast else 'fast tokenizer'}.",
            "Choose an instruction-tuned base.",
        )
    return tokenizer


def load_base(base: Base, dtype: torch.dtype) -> PreTrainedModel:
    """The frozen model in evaluation mode. Raises SettingsError when the folder does not hold a causal LM."""
    from transformers import AutoModelForCausalLM, logging

    logging.disable_progress_bar()
    # PEFT 0.21 asks transformers 5.23 for an attribute by its old name, which is no news to whoever chats or trains.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base.path, dtype=dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise SettingsError(
            f"The base {base.name!r} does not load: {str(error).splitlines()[0]}.", "Give a causal LM in safetensors."
        ) from None
    model.requires_grad_(False)
    return model.eval()


def choose_dtype(wanted: str) -> tuple[torch.dtype, str]:
    """The precision to serve in, and why. `auto` times a small matrix product in both."""
    if wanted != "auto":
        return DTYPES[wanted], "set"
    seconds = {}
    for name, dtype in DTYPES.items():
        a, b = torch.ones(64, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
        a @ b
        start = time.perf_counter()
        for _ in range(20):
            a @ b
        seconds[name] = time.perf_counter() - start
    best = min(seconds, key=seconds.__getitem__)
    ratio = max(seconds.values()) / seconds[best]
    return DTYPES[best], f"a probe ran {ratio:.1f} times faster than in the other precision"


class Model:
    """Base + loaded adapters. `context` is the longest sequence in tokens."""

    def __init__(self, base: Base, dtype: str) -> None:
        self.dtype, self.dtype_reason = choose_dtype(dtype)
        self.tokenizer = load_tokenizer(base)
        self.base = load_base(base, self.dtype)
        self.context = int(getattr(self.base.config, "max_position_embeddings", 0) or 2**20)
        ends = self.base.generation_config.eos_token_id
        self.end_ids = frozenset([ends] if isinstance(ends, int) else ends or [])
        self._peft: PeftModel | None = None
        self._scaling: dict[str, list[tuple[Any, float]]] = {}

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Prompt ids. Raises InvalidMessage when they leave no room for a reply."""
        ids = encode(self.tokenizer, messages)
        if len(ids) >= self.context:
            raise InvalidMessage(
                f"The conversation has {len(ids):,} tokens with its prompt; this base reads {self.context:,}.",
                "Start a new conversation, or use fewer examples and passages.",
            )
        return ids

    def use(self, mix: Mix) -> PreTrainedModel | PeftModel:
        """The model with exactly this mix active."""
        if not mix.parts:
            if self._peft is not None:
                self._peft.base_model.disable_adapter_layers()
            return self.base
        for adapter, _ in mix.parts:
            if adapter.hash not in self._scaling:
                self._load(adapter)
        assert self._peft is not None
        self._peft.base_model.enable_adapter_layers()
        self._peft.base_model.set_adapter([adapter.hash for adapter, _ in mix.parts], inference_mode=True)
        for adapter, weight in mix.parts:
            for layer, scaling in self._scaling[adapter.hash]:
                layer.scaling[adapter.hash] = scaling * weight
        return self._peft

    def _load(self, adapter: Adapter) -> None:
        from peft import PeftModel
        from peft.tuners.lora import LoraLayer

        try:
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(
                    self.base,
                    str(adapter.path),
                    adapter_name=adapter.hash,
                    autocast_adapter_dtype=False,
                    local_files_only=True,
                )
            else:
                self._peft.load_adapter(
                    str(adapter.path), adapter_name=adapter.hash, autocast_adapter_dtype=False, local_files_only=True
                )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise EngineError(
                f"Adapter {adapter.ref} does not load: {str(error).splitlines()[0]}.", "bot adapters verify says more."
            ) from None
        self._peft.to(self.dtype)
        self._peft.requires_grad_(False)
        self._peft.eval()
        layers = [module for module in self._peft.modules() if isinstance(module, LoraLayer)]
        self._scaling[adapter.hash] = [(m, m.scaling[adapter.hash]) for m in layers if adapter.hash in m.scaling]

    @torch.inference_mode()
    def score(self, messages: Sequence[Message], reply: str, mix: Mix) -> list[float]:
        """Log-probability of each token of the reply and its end."""
        ids, mask = encode_supervised(self.tokenizer, (*messages, Message("assistant", reply)))
        start = len(encode(self.tokenizer, messages))
        if len(ids) > self.context:
            raise InvalidMessage(f"{len(ids):,} tokens to score; this base reads {self.context:,}.", "Shorten the reply.")
        logits = self.use(mix)(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        wanted = [position for position in range(start, len(ids)) if mask[position]]
        logprobs = logits[[position - 1 for position in wanted]].float().log_softmax(-1)
        picked = logprobs.gather(1, torch.tensor([[ids[position]] for position in wanted]))
        return [float(value) for value in picked[:, 0]]
