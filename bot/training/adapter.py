"""An adapter on the frozen base, a LoRA or a soft prompt: made from a recipe, asked for replies, written as a plain PEFT
folder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bot.adapters.verify import CONFIG, WEIGHTS
from bot.base import Base
from bot.engine.local.encode import encode
from bot.engine.local.model import load_base
from bot.errors import DataError, TrainingError
from bot.training.attention import attend_without_mask
from bot.training.lora import quicken
from bot.training.recipe import Recipe
from bot.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def attach(base: Base, recipe: Recipe) -> Any:
    """The base in float32 with a fresh adapter, seeded → PeftModel. Raises DataError for a target the base lacks."""
    from peft import get_peft_model
    from transformers import set_seed

    model = load_base(base, torch.float32)
    config = _soft_prompt(base, recipe) if recipe.method == "soft-prompt" else lora(base, model, recipe, "CAUSAL_LM")
    set_seed(recipe.seed)
    adapted = get_peft_model(model, config)
    quicken(adapted, recipe.dropout)
    attend_without_mask(adapted)
    return adapted


def _soft_prompt(base: Base, recipe: Recipe) -> Any:
    """Virtual tokens that begin as words which the base knows."""
    from peft import PromptTuningConfig

    given: dict[str, Any] = {"prompt_tuning_init": "SAMPLE_VOCAB"}
    if recipe.start.strip():
        given = {
            "prompt_tuning_init": "TEXT",
            "prompt_tuning_init_text": recipe.start,
            "tokenizer_name_or_path": str(base.path),
        }
    return PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=recipe.virtual_tokens, **given)


def lora(base: Base, model: Any, recipe: Recipe, task: str) -> Any:
    """PEFT's configuration for that task. Raises DataError for a target the base lacks."""
    from peft import LoraConfig

    # Not the output layer: where it is tied to the embeddings, a LoRA on it cannot be served from its own files alone. Nor a
    # classifier's head, which is trained whole.
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings() and name != "score"
    }
    unknown = sorted(set(recipe.targets) - linear)
    if unknown:
        raise DataError(
            f"The base {base.name!r} has no linear layer {', '.join(unknown)}.",
            f"targets may be: {', '.join(sorted(linear))}.",
        )
    return LoraConfig(
        task_type=task,
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        use_rslora=recipe.rslora,
        lora_dropout=recipe.dropout,
        target_modules=sorted(recipe.targets),
    )


@torch.inference_mode()
def reply(model: Any, tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], max_tokens: int) -> str:
    """The greedy reply to rendered messages, at most `max_tokens` long."""
    # transformers 5.23 hands PEFT positions; behind a soft prompt it makes its own, which is no news to whoever trains.
    warnings.filterwarnings("ignore", message="Position ids are not supported", category=UserWarning)
    model.eval()
    ids = torch.tensor([encode(tokenizer, messages)], device=model.device)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_tokens,
        do_sample=False,
        use_cache=True,
        pad_token_id=pad,
    )
    text: str = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    return text.strip()


def save(model: Any, folder: Path, base_name: str) -> None:
    """Write configuration and float32 weights into `folder`. Raises TrainingError for weights that are not finite.

    `base_name` is what the configuration calls the base: never a path of this machine.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    broken = [key for key, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise TrainingError(
            f"{len(broken)} of {len(weights)} weights are not finite ({broken[0]}).", "Train with a lower learning_rate."
        )
    save_file({key: tensor.cpu().contiguous() for key, tensor in weights.items()}, folder / WEIGHTS, {"format": "pt"})
    config = {
        key: sorted(value) if isinstance(value, set) else value for key, value in model.active_peft_config.to_dict().items()
    }
    config.update(base_model_name_or_path=base_name, inference_mode=True)
    if config.get("tokenizer_name_or_path"):
        config["tokenizer_name_or_path"] = base_name
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
