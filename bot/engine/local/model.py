"""The base model and the adapters loaded on it. Everything here runs on the engine's one thread.

Adapters are known by content hash, so a new version under an old name is another adapter. A mix is exact without
merging: each active LoRA adds its own product, scaled by (its scaling × weight), whatever its rank. A soft prompt's
virtual tokens stand before the whole prompt, where PEFT puts them, so it goes with any LoRAs.
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
from bot.limits import check_mix
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
        self._virtual: dict[str, torch.Tensor] = {}

    def encode(self, messages: Sequence[Message], mix: Mix) -> list[int]:
        """Prompt ids. Raises InvalidMessage when they leave no room for a reply under this mix."""
        ids = encode(self.tokenizer, messages)
        filled = mix.virtual_tokens + len(ids)
        if filled >= self.context:
            raise InvalidMessage(
                f"The conversation has {filled:,} tokens with its prompt; this base reads {self.context:,}.",
                "Start a new conversation, or use fewer examples and passages.",
            )
        return ids

    def use(self, mix: Mix) -> PreTrainedModel | PeftModel:
        """The model with exactly this mix's LoRAs active; `opening` holds its soft prompt."""
        loras = check_mix(mix).loras
        if not loras:
            if self._peft is not None:
                self._peft.base_model.disable_adapter_layers()
            return self.base
        for adapter, _ in loras:
            if adapter.hash not in self._scaling:
                self._load(adapter)
        assert self._peft is not None
        self._peft.base_model.enable_adapter_layers()
        self._peft.base_model.set_adapter([adapter.hash for adapter, _ in loras], inference_mode=True)
        for adapter, weight in loras:
            for layer, scaling in self._scaling[adapter.hash]:
                layer.scaling[adapter.hash] = scaling * weight
        return self._peft

    def opening(self, ids: list[int], mix: Mix) -> dict[str, torch.Tensor]:
        """What the model reads first: the prompt's ids, or their embeddings behind the soft prompt's."""
        tokens, soft = torch.tensor([ids]), mix.soft_prompt
        if soft is None:
            return {"input_ids": tokens}
        if soft.hash not in self._virtual:
            self._virtual[soft.hash] = self._load_virtual(soft)
        embedded = self.base.get_input_embeddings()(tokens)
        return {"inputs_embeds": torch.cat((self._virtual[soft.hash].to(embedded.dtype), embedded), dim=1)}

    def _load_virtual(self, soft: Adapter) -> torch.Tensor:
        """The virtual tokens' embeddings, of shape (1, tokens, width)."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            virtual: torch.Tensor = load_file(soft.path / "adapter_model.safetensors")["prompt_embeddings"]
            if len(virtual) != soft.virtual_tokens:
                raise ValueError(f"it has {len(virtual)} virtual tokens, not {soft.virtual_tokens}")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise _does_not_load(soft, error) from None
        return virtual.unsqueeze(0)

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
            raise _does_not_load(adapter, error) from None
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
        before = mix.virtual_tokens
        if (filled := before + len(ids)) > self.context:
            raise InvalidMessage(f"{filled:,} tokens to score; this base reads {self.context:,}.", "Shorten the reply.")
        logits = self.use(mix)(**self.opening(ids, mix), use_cache=False).logits[0, before:]
        wanted = [position for position in range(start, len(ids)) if mask[position]]
        logprobs = logits[[position - 1 for position in wanted]].float().log_softmax(-1)
        picked = logprobs.gather(1, torch.tensor([[ids[position]] for position in wanted]))
        return [float(value) for value in picked[:, 0]]


def _does_not_load(adapter: Adapter, error: Exception) -> EngineError:
    return EngineError(
        f"Adapter {adapter.ref} does not load: {str(error).splitlines()[0]}.", "bot adapters verify says more."
    )
