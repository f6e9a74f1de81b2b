"""What speed is measured on: the Llama shape of SmolLM2-135M with random weights from a fixed seed, and LoRAs on it.

Contract: `make_base` and `make_adapters` write into a folder once and find it there the next time. Speed does not depend
on what weights say; a trained model of this size could not be downloaded everywhere this runs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.adapters.card import CARD, Card, write_card
from bot.adapters.verify import verify
from bot.base import Base, open_base
from bot.files import sha256_file
from bot.types import Adapter, Method

SMOL_135M = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 2048, "tie_word_embeddings": True,
}  # fmt: skip
DEVICE = "cpu"
"""Where everybody is measured: the peers that come without a server of their own are loaded there too."""
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_base(folder: Path, shape: dict[str, Any]) -> Base:
    """The base in bfloat16, with the starter's tokenizer."""
    if not (folder / "model.safetensors").exists():
        import torch
        from transformers import AutoModelForCausalLM, LlamaConfig

        torch.manual_seed(0)
        config = LlamaConfig(**shape, bos_token_id=1, eos_token_id=2, pad_token_id=0)
        made = folder.with_name(f".new-{folder.name}")
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(made)
        _write_tokenizer(made, shape["vocab_size"])
        made.rename(folder)
    return open_base(str(folder), folder.parent / "hashes.json")


def _write_tokenizer(folder: Path, size: int) -> None:
    """The starter's tokenizer, with a word of its own for every further token, so that whatever random weights choose has
    text and is streamed."""
    starter = open_base("starter", folder.parent / "hashes.json").path
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(starter / name, folder / name)
    tokenizer = json.loads((starter / "tokenizer.json").read_text())
    known = tokenizer["model"]["vocab"]
    known |= {f"Ġx{number}": number for number in range(len(known), size)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def make_adapters(base: Base, folder: Path, ranks: Sequence[int], first: int = 0) -> list[Adapter]:
    """One LoRA on all linear layers for each rank, numbered from `first`, laid out as a workspace's adapters: `a0`, `a1` …
    The second half of each is random too, so that it changes what is said."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    found = []
    for number, rank in enumerate(ranks, first):
        path = folder / f"a{number}" / "v1"
        if not (path / CARD).exists():
            torch.manual_seed(number + 1)
            model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.bfloat16)
            wrapped = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS))
            for name, parameter in wrapped.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.02)
            wrapped.to(torch.bfloat16).save_pretrained(path)
            (path / "README.md").unlink()
            describe(base, path)
        found.append(verify(f"a{number}", 1, path, base))
    return found


def describe(base: Base, folder: Path, method: Method = "lora", labels: tuple[str, ...] = ()) -> None:
    """Write the card of an adapter that nobody trained."""
    files = {path.name: sha256_file(path) for path in folder.iterdir() if path.suffix in (".json", ".safetensors")}
    card = Card(
        name=folder.parent.name, version=int(folder.name[1:]), method=method, made="2026-01-01T00:00:00+00:00",
        base=base.name, base_hash=base.hash, tokenizer_hash=base.tokenizer_hash, template_hash=base.template_hash,
        prompt="", prompt_hash="", knowledge="", data={}, recipe={}, seed=1, metrics={}, files=files, labels=labels,
    )  # fmt: skip
    write_card(folder, card)


def tensor_bytes(adapter: Adapter, dtype: str) -> int:
    """What its tensors take in a precision, nothing else counted."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(adapter.path / "adapter_model.safetensors").values()
    kind: torch.dtype = getattr(torch, dtype)
    return sum(int(tensor.numel()) for tensor in tensors) * kind.itemsize
