"""A checkpoint → a folder that plain transformers loads: weights in bf16, tokenizer, decoding defaults.

Contract: `export(checkpoint, tokenizer, folder)` writes safetensors; `AutoModelForCausalLM.from_pretrained(folder)`
gives the same model without any code of ours. Decoding is greedy by default; no repetition penalty, because
transformers counts the prompt too, which forbids quoting it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from bot.starter.model import Shape, build_llama
from bot.starter.report import table
from bot.starter.tokens import open_tokenizer, wrap

CARD = Path(__file__).parent / "card.md"


def load_checkpoint(path: Path) -> Any:
    """The averaged weights of a checkpoint as a transformers model, float32."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    return build_llama(Shape(**state["shape"]), state["average"])


def export(checkpoint: Path, tokenizer: Path, folder: Path, results: Path | None = None) -> int:
    """Write the folder, with the model card and, where given, its measured figures; gives the weights' bytes."""
    model = load_checkpoint(checkpoint).to(torch.bfloat16)
    decoding = model.generation_config
    decoding.do_sample, decoding.max_new_tokens = False, 128
    decoding.bos_token_id, decoding.eos_token_id, decoding.pad_token_id = 1, 2, 0
    model.save_pretrained(folder)
    wrapped = wrap(open_tokenizer(tokenizer))
    wrapped.save_pretrained(folder)
    measured = table(json.loads(results.read_text())["rows"]) if results else "Not measured."
    (folder / "README.md").write_text(CARD.read_text().replace("{figures}", measured))
    return (folder / "model.safetensors").stat().st_size
