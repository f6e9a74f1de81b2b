"""The leaner layers against plain transformers, in every precision; and which bases get them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from bot.base import Base
from bot.engine.local.layers import Layer
from bot.engine.local.model import Model
from bot.engine.local.slots import Slots
from bot.errors import SettingsError

IDS = torch.randint(3, 8000, (2, 24), generator=torch.Generator().manual_seed(1))
KINDS: list[tuple[str, dict[str, Any], bool]] = [
    ("llama", {"num_key_value_heads": 2}, True),
    ("llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 16}, True),
    ("qwen2", {"num_key_value_heads": 1}, True),
    ("mistral", {"num_key_value_heads": 2, "sliding_window": None}, True),
    ("qwen3", {"num_key_value_heads": 2, "head_dim": 8}, False),
    ("llama", {"hidden_act": "gelu"}, False),
    ("gpt_neox", {}, False),
]


@pytest.mark.parametrize(("dtype", "near"), [("float64", 1e-6), ("float32", 1e-4), ("bfloat16", 0.1)])
@pytest.mark.parametrize(("kind", "changes", "leaner"), KINDS)
def test_logits_are_those_of_plain_transformers(
    kind: str, changes: dict[str, Any], leaner: bool, dtype: str, near: float, make_base: Callable[..., Base]
) -> None:
    base = make_base(kind=kind, **changes)
    model = Model(base, dtype, "cpu")
    layers: Any = model._model.base_model.layers
    assert {type(layer) is Layer for layer in layers} == {leaner}
    plain = AutoModelForCausalLM.from_pretrained(base.path, dtype=getattr(torch, dtype)).eval()
    slots = Slots(2, IDS.shape[1])
    with torch.inference_mode():
        expected = plain(input_ids=IDS).logits
        found = [model.forward({"input_ids": IDS[:, :20]}, slots.window([0, 0], 20, model.device), None, 20)]
        for place in range(20, IDS.shape[1]):
            window = slots.window([place, place], 1, model.device)
            found.append(model.forward({"input_ids": IDS[:, place : place + 1]}, window, None))
    far = (torch.cat(found, 1) - expected).abs().max() / expected.abs().max()
    assert far < near


def test_a_processor_without_bfloat16_multiplies_in_it_all_the_same(
    tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("bf16 path needs the cpu support avx_ne_convert or avx512bw, avx512vl and avx512dq")

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refuse)
    model, slots = Model(tiny_base, "bfloat16", "cpu"), Slots(2, IDS.shape[1])
    with torch.inference_mode():
        found = model.forward({"input_ids": IDS}, slots.window([0, 0], IDS.shape[1], model.device), None)
    assert found.isfinite().all()


def test_a_gpu_that_is_not_there_is_told(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=r"no GPU here.*Set device: cpu"):
        Model(tiny_base, "float32", "cuda")
