"""The base model as the engine runs it: its linear layers grouped, its attention over slots, its adapters in memory.

Everything here but the reading of adapters runs on the engine's one thread. A base whose rows would not be what they are
alone (positions scaled by the longest in the batch), or whose layers do not see all positions, is refused.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bot.base import Base
from bot.cores import openmp
from bot.engine.local.adapters import AdapterMemory
from bot.engine.local.encode import encode, opens_reasoning
from bot.engine.local.factors import Factors
from bot.engine.local.layers import replace_layers
from bot.engine.local.projections import Product, Projections
from bot.engine.local.slots import Slots, Window
from bot.engine.local.stack import Adders
from bot.errors import InvalidMessage, SettingsError
from bot.limits import check_mix
from bot.types import Message, Mix

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from bot.engine.local.kernels import Kernels

_TRIED = torch.tensor([[5, 9, 17, 33, 65], [6, 10, 18, 34, 66]])
"""Tokens that a base is tried with; any will do."""
_CHANGES = ("softcap", "s_aux", "sinks", "position_bias", "indices", "block_indices")
"""What some models hand their attention to change its result; ours has none of it."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
EXACT = {"float64": torch.float64}
"""For tests, where batches of any shape must give the same tokens."""
ATTENTION = "switchboard-slots"
"""The name under which transformers knows our attention."""


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


def choose_device(wanted: str = "auto") -> torch.device:
    """Where to run; `auto` takes a GPU where there is one. Raises SettingsError for a GPU that is not there."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise SettingsError("device is cuda, but torch sees no GPU here.", "Set device: cpu, or install torch for CUDA.")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def choose_dtype(wanted: str, device: torch.device) -> tuple[torch.dtype, str]:
    """The precision to serve in, and why. `auto` asks a GPU what it can, and on a CPU times a step's products in both: eight
    rows, weights from memory."""
    if wanted != "auto":
        return (DTYPES | EXACT)[wanted], "set"
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return (torch.bfloat16, "the GPU computes in it") if able else (torch.float32, "the GPU has no bfloat16")
    seconds = {}
    for name, dtype in DTYPES.items():
        x = torch.ones(8, 1024, dtype=dtype)
        products = [Product(torch.ones(1024, 1024, dtype=dtype), None) for _ in range(24)]
        tries = []
        for _ in range(4):
            start = time.perf_counter()
            for product in products:
                product(x)
            tries.append(time.perf_counter() - start)
        seconds[name] = min(tries)
    best = min(seconds, key=seconds.__getitem__)
    ratio = max(seconds.values()) / seconds[best]
    return DTYPES[best], f"a probe ran {ratio:.1f} times faster than in the other precision"


class Model:
    """`context` is the longest sequence in tokens, `position_bytes` what one position of one row takes."""

    position_bytes: int

    def __init__(self, base: Base, dtype: str, device: str) -> None:
        self.device = choose_device(device)
        self.dtype, self.dtype_reason = choose_dtype(dtype, self.device)
        self.tokenizer = load_tokenizer(base)
        self.opens_reasoning = opens_reasoning(self.tokenizer)
        self._model = _moved(load_base(base, self.dtype), base.name, self.device)
        check_attention(base.name, self._model)
        with torch.inference_mode():
            alone = self._model(input_ids=_TRIED.to(self.device), use_cache=False).logits[:, -1]
            self._projections = Projections(self._model)
            self._model.set_attn_implementation(_attention())
            self.kernels = _kernels(self.device, self.dtype)
            replace_layers(self._model, self._projections, attend, self.kernels)
            self._check(base.name, alone)
        self.adapters = AdapterMemory(self._projections, self.dtype, self.device)
        self.context = int(getattr(self._model.config.get_text_config(), "max_position_embeddings", 0) or 2**20)
        ends = self._model.generation_config.eos_token_id
        self.end_ids = frozenset([ends] if isinstance(ends, int) else ends or [])

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

    def parts(self, mix: Mix) -> tuple[Factors | None, Tensor | None]:
        """A mix's tensors: its LoRAs' factors, and its soft prompt's embeddings. Not for the model's thread: it may read
        files."""
        soft = check_mix(mix).soft_prompt
        return self.adapters.loras(mix), self.adapters.soft_prompt(soft) if soft else None

    def inputs(self, ids: Sequence[int], virtual: Tensor | None, start: int, end: int) -> dict[str, Tensor]:
        """What stands at positions start … end of a prompt: ids, or embeddings where a soft prompt comes first."""
        if virtual is None:
            return {"input_ids": torch.tensor([ids[start:end]], device=self.device)}
        embedded = self._model.get_input_embeddings()(torch.tensor([ids], device=self.device))
        return {"inputs_embeds": torch.cat((virtual.to(embedded.dtype), embedded), dim=1)[:, start:end]}

    def forward(self, inputs: Mapping[str, Tensor], window: Window, stack: Adders | None, keep: int = 1) -> Tensor:
        """Logits (rows, keep, vocabulary) after the last positions."""
        logits: Tensor = self._run(self._model, inputs, window, stack, logits_to_keep=keep).logits
        return logits[:, -keep:]

    def hidden(self, inputs: Mapping[str, Tensor], window: Window, stack: Adders | None) -> Tensor:
        """What the output layer would be given: (rows, tokens, width)."""
        hidden: Tensor = self._run(self._model.base_model, inputs, window, stack).last_hidden_state
        return hidden

    def _run(self, module: Any, inputs: Mapping[str, Tensor], window: Window, stack: Adders | None, **more: Any) -> Any:
        self._projections.stack = stack
        try:
            return module(
                **inputs,
                attention_mask=window.mask(self.dtype),
                position_ids=window.position_ids,
                past_key_values=window,
                use_cache=True,
                **more,
            )
        finally:
            self._projections.clear()

    def _check(self, name: str, expected: Tensor) -> None:
        """Raises SettingsError where a batch over slots does not give what the base gives by itself."""
        ids = _TRIED.to(self.device)
        slots, last = Slots(*ids.shape), ids.shape[1] - 1
        try:
            self.forward({"input_ids": ids[:, :-1]}, slots.window([0, 0], last, self.device), None)
            logits = self.forward({"input_ids": ids[:, -1:]}, slots.window([last] * 2, 1, self.device), None)[:, 0]
            self.position_bytes = slots.bytes // _TRIED.numel()
            far = float((logits.float() - expected.float()).abs().max() / expected.float().abs().max().clamp(min=1e-6))
            reason = "" if far < 0.1 else "its tokens would be others than alone"
        except (RuntimeError, AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
            reason = f"it fails on a batch ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        if reason:
            raise _unfit(name, reason)


def _kernels(device: torch.device, dtype: torch.dtype) -> Kernels | None:
    """The compiled kernels, where they can share torch's threads."""
    if device.type != "cpu" or openmp() is None:
        return None
    from bot.engine.local.kernels import Kernels

    return Kernels(dtype)


def _moved(model: PreTrainedModel, name: str, device: torch.device) -> PreTrainedModel:
    try:
        moved: PreTrainedModel = model.to(device)
    except torch.OutOfMemoryError:
        raise SettingsError(f"The base {name!r} does not fit on the GPU.", "Set device: cpu, or choose another.") from None
    return moved


def check_attention(name: str, model: PreTrainedModel) -> None:
    """Raises SettingsError for a base whose attention this engine does not serve."""
    config: Any = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    rope = getattr(config, "rope_parameters", None) or {}
    scaled = {str(rope.get("rope_type", "default"))} & {"dynamic", "longrope"}
    sliding = getattr(config, "sliding_window", None) and not getattr(config, "layer_types", None)
    reason = ""
    if not (model._supports_attention_backend and model._supports_sdpa):
        reason = "its attention cannot be replaced"
    elif kinds != {"full_attention"} or sliding:
        reason = (
            f"its layers see only a part of the positions ({', '.join(sorted(kinds - {'full_attention'})) or 'sliding'})"
        )
    elif scaled:
        reason = f"its positions ({', '.join(scaled)}) depend on the longest row in the batch"
    if reason:
        raise _unfit(name, reason)


def _unfit(name: str, reason: str) -> SettingsError:
    return SettingsError(
        f"The base {name!r} cannot share a batch: {reason}.", "Choose another base, or serve it by vLLM (engine: remote)."
    )


def _attention() -> str:
    """Have transformers know our attention; gives its name."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(ATTENTION, attend)
    # The window's mask is complete; transformers must make none of its own.
    AttentionMaskInterface.register(ATTENTION, lambda *_, **__: None)
    return ATTENTION


def attend(
    module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scaling: float | None = None, **more: Any
) -> tuple[Tensor, None]:
    """Attention over slots: q (rows, heads, tokens, width), k and v with as many heads or fewer; gives (rows, tokens,
    heads, width)."""
    if odd := [key for key in _CHANGES if more.get(key) is not None]:
        raise ValueError(f"its attention takes {', '.join(odd)}")
    rows, heads, tokens, width = q.shape
    groups = heads // k.shape[1]
    if groups > 1 and tokens == 1:
        # Heads that share keys stand where a prompt's tokens stand: nothing is repeated in memory.
        out = F.scaled_dot_product_attention(q.view(rows, -1, groups, width), k, v, attn_mask=mask, scale=scaling)
        return out.reshape(rows, 1, heads, v.shape[-1]), None
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling, enable_gqa=groups > 1)
    return out.transpose(1, 2).contiguous(), None
