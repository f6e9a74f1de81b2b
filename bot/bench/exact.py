"""C1 on the model that speed is measured on: in float32, chats that come and go at random say, token for token, what plain
transformers says with the mix's weights added by hand.

Contract: a reply may part from the reference only to the reference's runner-up, and only where that was less than `NEAR`
behind; such near-ties are counted. (The random schedules in float64, where there are none, are tests/engine/test_batch.py.)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from bot.base import Base
from bot.bench.chats import Chats
from bot.bench.rows import Row
from bot.bench.shape import DEVICE
from bot.engine.local.engine import LocalEngine
from bot.types import Adapter, Message, Mix, Sampling

NEAR = 1e-4
TOKENS = 16


class Reference:
    """Plain transformers, one reply at a time; the weights of one mix at a time are added to the base's."""

    def __init__(self, base: Base) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(base.path)
        self._base, self._class = base, AutoModelForCausalLM

    def _load(self) -> Any:
        return self._class.from_pretrained(self._base.path, dtype=self._torch.float32).eval()

    def model(self, mix: Mix) -> Any:
        """The base with the mix's weights in it."""
        from peft import PeftModel

        model = self._load()
        for adapter, weight in mix.loras:
            wrapped = PeftModel.from_pretrained(self._load(), str(adapter.path))
            for name, module in wrapped.base_model.model.named_modules():
                if hasattr(module, "get_delta_weight"):
                    model.get_submodule(name).weight.data += weight * module.get_delta_weight("default").detach().float()
        return model

    def reply(self, model: Any, messages: Sequence[Message]) -> tuple[list[str], list[tuple[str, float]]]:
        """The tokens' texts, and at each the runner-up with how far behind it was."""
        from bot.engine.local.encode import encode

        ids = self._torch.tensor([encode(self._tokenizer, messages)])
        out = model.generate(input_ids=ids, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, pad_token_id=0,
                             return_dict_in_generate=True, output_scores=True)  # fmt: skip
        best = [scores[0].topk(2) for scores in out.scores]
        seconds = [(self._text(int(top.indices[1])), float(top.values[0] - top.values[1])) for top in best]
        return [self._text(token) for token in out.sequences[0, ids.shape[1] :].tolist()], seconds

    def _text(self, token: int) -> str:
        return str(self._tokenizer.decode([token], skip_special_tokens=False))


async def exactness(base: Base, adapters: Sequence[Adapter], chats: Chats, count: int, threads: int) -> list[Row]:
    """`count` chats over eight mixes, begun at random moments, some with a beginning in common, some given up."""
    chance, engine = random.Random(11), LocalEngine(base, "float32", DEVICE, threads, max_queue=1000)
    pairs = [Mix(((adapters[n], 0.6), (adapters[n + 1], 0.7))) for n in range(3)]
    mixes = [Mix(), *(Mix(((adapter, 1.0),)) for adapter in adapters[:4]), *pairs]
    asked = [(chance.choice(mixes), chats.prompt(words=chance.choice((5, 40, 200)))) for _ in range(count)]

    async def chat(mix: Mix, messages: list[Message]) -> list[str] | None:
        await asyncio.sleep(chance.random() * count / 8)
        how = Sampling(max_tokens=TOKENS, min_tokens=TOKENS, logprobs=0)
        stream, said, leaves = engine.stream(messages, mix, how, 0), [], chance.random() < 0.2
        async for piece in stream:
            said += [score.text for score in piece.scores]
            if leaves and said:
                await stream.aclose()
                return None
        return said

    replies = await asyncio.gather(*(chat(*one) for one in asked))
    reference = Reference(base)
    wrong, near, compared = 0, 0, 0
    for mix in mixes:
        model = await engine.run(partial(reference.model, mix))
        for (own, messages), said in zip(asked, replies, strict=True):
            if own != mix or said is None:
                continue
            expected, seconds = await engine.run(partial(reference.reply, model, messages))
            parted = next((n for n, (one, other) in enumerate(zip(said, expected, strict=True)) if one != other), None)
            compared += 1
            if parted is not None:
                runner_up, behind = seconds[parted]
                tie = behind < NEAR and said[parted] == runner_up
                near, wrong = near + tie, wrong + (not tie)
    await engine.close()
    what = f"replies that part from plain transformers, of {compared} in float32"
    # More than a few near-ties would be no accident.
    holds = wrong == 0 and near <= max(1, compared // 20)
    return [Row("C1", what, wrong, "replies", "≤ 0", holds, {"near_ties": near, "compared": compared})]
