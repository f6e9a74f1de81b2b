"""Soft prompts on the local engine against plain PEFT: alone, with LoRAs, and in the count of what a base reads."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
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
from bot.errors import AdapterError, EngineError, InvalidMessage
from bot.types import Adapter, Message, Mix, Sampling
from tests.conftest import make_adapter, make_soft_prompt

TOKENS = 8
GREEDY = Sampling(max_tokens=TOKENS, ignore_eos=True)
QUESTIONS = ["Where is my order?", "I want a refund", "the lamp is broken", "hello"]
# PEFT says so of the positions that transformers hands it, and makes its own.
pytestmark = pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")


@pytest.fixture(scope="module")
def soft(tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Adapter]:
    """Two soft prompts of unlike lengths."""
    root = tmp_path_factory.mktemp("soft")
    folders = [make_soft_prompt(tiny_base, root / f"s{n}" / "v1", n, tokens) for n, tokens in enumerate((5, 12))]
    return [verify(folder.parent.name, 1, folder, tiny_base) for folder in folders]


@pytest.fixture(scope="module")
def loras(tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Adapter]:
    root = tmp_path_factory.mktemp("loras")
    folders = [make_adapter(tiny_base, root / f"l{n}" / "v1", n, rank) for n, rank in enumerate((2, 4))]
    return [verify(folder.parent.name, 1, folder, tiny_base) for folder in folders]


@pytest.fixture(scope="module")
def engine(tiny_base: Base) -> Iterator[LocalEngine]:
    made = LocalEngine(tiny_base, "float32", max_queue=1000)
    yield made
    asyncio.run(made.close())


def one(*adapters: Adapter) -> Mix:
    return Mix(tuple((adapter, 1.0) for adapter in adapters))


async def replies(engine: LocalEngine, mix: Mix) -> list[str]:
    return [
        "".join([piece.text async for piece in engine.stream([Message("user", question)], mix, GREEDY, 0)])
        for question in QUESTIONS
    ]


def plain(base: Base, adapter: Adapter | None) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base.path)
    return (PeftModel.from_pretrained(model, str(adapter.path)) if adapter else model).eval()


def reference(base: Base, adapter: Adapter | None, virtual: torch.Tensor | None = None) -> list[str]:
    """Greedy replies of plain PEFT with `adapter`, the prompt standing as embeddings behind `virtual` where given."""
    model, tokenizer, found = plain(base, adapter), AutoTokenizer.from_pretrained(base.path), []
    how = {"eos_token_id": None, "do_sample": False, "max_new_tokens": TOKENS, "pad_token_id": 0}
    for question in QUESTIONS:
        ids = torch.tensor([encode(tokenizer, [Message("user", question)])])
        if virtual is None:
            made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **how)[0, ids.shape[1] :]
        else:
            inputs = torch.cat((virtual[None], model.get_input_embeddings()(ids)), 1)
            made = model.generate(inputs_embeds=inputs, attention_mask=torch.ones(inputs.shape[:2]), **how)[0]
        found.append(tokenizer.decode(made, skip_special_tokens=True))
    return found


def embeddings(adapter: Adapter) -> torch.Tensor:
    return load_file(adapter.path / WEIGHTS)["prompt_embeddings"]


async def test_alone_and_with_a_lora_it_says_what_plain_peft_says_whoever_was_served_before(
    engine: LocalEngine, tiny_base: Base, soft: list[Adapter], loras: list[Adapter]
) -> None:
    cases = {
        one(soft[0]): reference(tiny_base, soft[0]),
        one(soft[1]): reference(tiny_base, soft[1]),
        one(loras[0]): reference(tiny_base, loras[0]),
        one(loras[0], soft[0]): reference(tiny_base, loras[0], embeddings(soft[0])),
        one(soft[1], loras[1]): reference(tiny_base, loras[1], embeddings(soft[1])),
        Mix(): reference(tiny_base, None),
    }
    assert len({tuple(expected) for expected in cases.values()}) == len(cases), "they must differ to be told apart"
    for mix in (*cases, *reversed(cases)):
        assert await replies(engine, mix) == cases[mix], mix
    together = await asyncio.gather(*(replies(engine, mix) for mix in cases))
    assert together == list(cases.values())


async def test_a_weighted_mix_scores_as_its_virtual_tokens_before_the_sum_of_its_loras(
    engine: LocalEngine, tiny_base: Base, soft: list[Adapter], loras: list[Adapter]
) -> None:
    weights = [0.7, 1.6]
    model = plain(tiny_base, None)
    for adapter, weight in zip(loras, weights, strict=True):
        for name, module in plain(tiny_base, adapter).base_model.model.named_modules():
            if hasattr(module, "get_delta_weight"):
                model.get_submodule(name).weight.data += weight * module.get_delta_weight("default").detach()
    mix = Mix(((loras[0], weights[0]), (soft[0], 1.0), (loras[1], weights[1])))
    assert await score(engine, mix) == pytest.approx(by_hand(model, tiny_base, embeddings(soft[0])), abs=1e-4)
    assert await score(engine, one(soft[1])) == pytest.approx(
        by_hand(plain(tiny_base, None), tiny_base, embeddings(soft[1])), abs=1e-4
    )


ASKED, SAID = [Message("user", "Where is my order?")], "It is on its way."


async def score(engine: LocalEngine, mix: Mix) -> list[float]:
    return await engine.score(ASKED, SAID, mix)


def by_hand(model: Any, base: Base, virtual: torch.Tensor) -> list[float]:
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    start = len(encode(tokenizer, ASKED))
    ids = encode(tokenizer, [*ASKED, Message("assistant", SAID)])[:-1]
    with torch.no_grad():
        inputs = torch.cat((virtual, model.get_input_embeddings()(torch.tensor(ids))))
        logprobs = model(inputs_embeds=inputs[None]).logits[0].log_softmax(-1)
    return [float(logprobs[len(virtual) + at - 1, ids[at]]) for at in range(start, len(ids))]


async def test_the_virtual_tokens_take_their_places_of_the_context(engine: LocalEngine, soft: list[Adapter]) -> None:
    await engine.load()
    mix, context = one(soft[1]), 512
    hello = [Message("user", "hello")]
    pieces = [piece async for piece in engine.stream(hello, mix, GREEDY, 0)]
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.prompt_tokens == engine.count(hello, mix) == engine.count(hello) + 12
    words = next(n for n in range(context) if engine.count([Message("user", "a " * n)]) > context - 12 - 1)
    full = [Message("user", "a " * words)]
    assert engine.fits(full, 1)
    assert not engine.fits(full, 1, mix)
    assert [piece async for piece in engine.stream(full, Mix(), GREEDY, 0)]
    with pytest.raises(InvalidMessage, match=f"{engine.count(full, mix)} tokens.*reads 512"):
        await anext(engine.stream(full, mix, GREEDY, 0))
    with pytest.raises(InvalidMessage, match="tokens to read"):
        await engine.score(full, "a", mix)


async def test_the_reply_ends_where_the_context_does(engine: LocalEngine, soft: list[Adapter]) -> None:
    mix, asked = one(soft[1]), [Message("user", "a " * 200)]
    room = 512 - engine.count(asked, mix)
    last = [p async for p in engine.stream(asked, mix, Sampling(max_tokens=2000, ignore_eos=True), 0)][-1]
    assert last.usage is not None
    assert last.usage.completion_tokens == room


async def test_one_that_vanished_or_changed_is_an_error_and_the_engine_goes_on(
    engine: LocalEngine, soft: list[Adapter], tmp_path: Path
) -> None:
    gone = dataclasses.replace(soft[0], name="gone", path=tmp_path, hash="e" * 64)
    with pytest.raises(EngineError, match="gone@1 does not load"):
        await replies(engine, one(gone))
    other = dataclasses.replace(soft[0], path=soft[1].path, hash="d" * 64)
    with pytest.raises(EngineError, match="12 virtual tokens, not 5"):
        await replies(engine, one(other))
    with pytest.raises(AdapterError, match="2 soft prompts"):
        await replies(engine, one(*soft))
    assert await replies(engine, Mix())
