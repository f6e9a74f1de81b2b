"""Rows of one batch against plain PEFT, one at a time: the same tokens whatever the schedule of joins, leaves and cancels.

In float64, so that no near-tie hides a fault or looks like one.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.adapters.verify import WEIGHTS, verify
from bot.base import Base
from bot.engine.local.encode import encode
from bot.engine.local.engine import LocalEngine
from bot.engine.local.sampling import TextStream
from bot.types import Adapter, Message, Mix, Sampling
from tests.conftest import make_adapter, make_soft_prompt

TOKENS = 7
ROUNDS = int(os.environ.get("SCHEDULES", "3"))
"""Schedules of six clients for every kind of model; `make bench` runs 125."""
SHARED = "You are Wren of Larkmoor. Answer from the knowledge below, in one sentence, and never guess. " * 3
QUESTIONS = ["Where is my order?", "I want a refund for the lamp that I sent back", "hello", "how do I cancel? " * 40]
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 1, "attention_bias": True},
    "gpt_neox": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
}
TARGETS = {"gpt_neox": ["query_key_value", "dense_h_to_4h"], "opt": ["q_proj", "v_proj", "fc1", "fc2"]}
FEW = {"gpt_neox": ["dense"], "opt": ["out_proj"]}


def make_adapters(base: Base, kind: str, root: Path) -> list[Adapter]:
    """LoRAs of unequal ranks, one with rsLoRA, one on few layers; and a soft prompt."""
    many = {"target_modules": TARGETS[kind]} if kind in TARGETS else {}
    few = {"target_modules": FEW.get(kind, ["q_proj", "o_proj"])}
    given: list[tuple[int, dict[str, Any]]] = [(2, many), (5, many | {"use_rslora": True}), (3, few)]
    folders = [make_adapter(base, root / f"a{n}" / "v1", n, rank, **more) for n, (rank, more) in enumerate(given)]
    # Another adapter under the name and version of the first, as where somebody trained it anew.
    folders.append(make_adapter(base, root / "anew" / "a0" / "v1", 17, 2, **many))
    folders.append(make_soft_prompt(base, root / "soft" / "v1", 9, 6))
    return [verify(folder.parent.name, 1, folder, base) for folder in folders]


class Reference:
    """Plain transformers with the mix's weights added by hand, one reply at a time."""

    def __init__(self, base: Base) -> None:
        self._base, self._tokenizer = base, AutoTokenizer.from_pretrained(base.path)
        self._models: dict[str, Any] = {}
        self._said: dict[tuple[str, tuple[Message, ...]], list[int]] = {}

    def _model(self, mix: Mix) -> Any:
        key = Mix(tuple(mix.loras)).hash
        if key not in self._models:
            model = AutoModelForCausalLM.from_pretrained(self._base.path, dtype=torch.float64).eval()
            for adapter, weight in mix.loras:
                plain = AutoModelForCausalLM.from_pretrained(self._base.path, dtype=torch.float64)
                wrapped = PeftModel.from_pretrained(plain, str(adapter.path))
                for name, module in wrapped.base_model.model.named_modules():
                    if hasattr(module, "get_delta_weight"):
                        model.get_submodule(name).weight.data += weight * module.get_delta_weight("default").detach()
            self._models[key] = model
        return self._models[key]

    @torch.no_grad()
    def reply(self, messages: tuple[Message, ...], mix: Mix) -> list[int]:
        key = (mix.hash, messages)
        if key not in self._said:
            model = self._model(mix)
            inputs = model.get_input_embeddings()(torch.tensor([encode(self._tokenizer, messages)]))
            if mix.soft_prompt:
                virtual = load_file(mix.soft_prompt.path / WEIGHTS)["prompt_embeddings"].double()
                inputs = torch.cat((virtual[None], inputs), 1)
            how = {"eos_token_id": None, "do_sample": False, "max_new_tokens": TOKENS, "pad_token_id": 0}
            made = model.generate(inputs_embeds=inputs, attention_mask=torch.ones(inputs.shape[:2]), **how)[0]
            self._said[key] = made.tolist()
        return self._said[key]

    def text(self, messages: tuple[Message, ...], mix: Mix, tokens: int) -> str:
        stream = TextStream(self._tokenizer, ())
        return "".join(stream.push(token) for token in self.reply(messages, mix)[:tokens]) + stream.flush()


# By torch alone, as on a GPU, where there are no kernels.
@pytest.mark.parametrize(("kind", "compiled"), [*((kind, True) for kind in KINDS), ("llama", False), ("gpt_neox", False)])
async def test_random_schedules_give_what_each_would_get_alone(
    kind: str, compiled: bool, make_base: Callable[..., Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr("bot.engine.local.model.openmp", lambda: None)
    base = make_base(kind=kind, **KINDS[kind])
    adapters = make_adapters(base, kind, tmp_path)
    reference, engine = Reference(base), LocalEngine(base, "float64", max_queue=1000)
    mixes = [
        Mix(),
        *(Mix(((adapter, 1.0),)) for adapter in adapters),
        Mix(((adapters[0], 0.7), (adapters[1], 1.3))),
        Mix(((adapters[2], 0.5), (adapters[4], 1.0), (adapters[0], 1.0))),
    ]

    async def client(rng: random.Random) -> None:
        for _ in range(4):
            await asyncio.sleep(rng.random() / 50)
            mix, tokens = rng.choice(mixes), rng.randint(1, TOKENS)
            head = [Message("system", SHARED)] if rng.random() < 0.7 else []
            messages = (*head, Message("user", rng.choice(QUESTIONS)))
            stream = engine.stream(messages, mix, Sampling(max_tokens=tokens, ignore_eos=True), 0)
            if rng.random() < 0.25:
                async for _ in stream:
                    break
                await stream.aclose()
                continue
            said = "".join([piece.text async for piece in stream])
            assert said == reference.text(messages, mix, tokens), (str(mix), tokens, messages[-1].content[:20])

    asked = [Message("user", QUESTIONS[0])]
    assert len({tuple(reference.reply(tuple(asked), mix)) for mix in mixes}) > len(mixes) / 2, "too alike to be told apart"
    for seed in range(ROUNDS):
        await asyncio.gather(*(client(random.Random(f"{seed}/{number}")) for number in range(6)))
    await engine.close()


async def test_kernels_on_several_threads_say_what_torch_says(
    make_base: Callable[..., Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(kind="llama", **KINDS["llama"])
    adapters = make_adapters(base, "llama", tmp_path)
    mixes = [Mix(), *(Mix(((adapter, 1.0),)) for adapter in adapters), Mix(((adapters[0], 0.7), (adapters[1], 1.3)))]

    async def said(threads: int) -> list[list[float]]:
        engine, how = LocalEngine(base, "float32", threads=threads), Sampling(max_tokens=TOKENS, ignore_eos=True, logprobs=0)

        async def chat(mix: Mix) -> list[float]:
            pieces = engine.stream([Message("user", QUESTIONS[0])], mix, how, 0)
            return [score.logprob async for piece in pieces for score in piece.scores]

        found = await asyncio.gather(*map(chat, mixes))
        await engine.close()
        return found

    compiled = await said(4)
    monkeypatch.setattr("bot.engine.local.model.openmp", lambda: None)
    for own, other in zip(compiled, await said(1), strict=True):
        assert own == pytest.approx(other, abs=1e-3)
