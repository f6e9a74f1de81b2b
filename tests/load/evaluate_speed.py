"""How long the arms take, E1, and whether they give the same numbers twice, E2.

    python -m tests.load.evaluate_speed --out tests/load/results/evaluate.json

In a copy of the demo whose three domains' transcripts stand in one, half of them held out; a LoRA and a soft prompt are
trained there first, which is not counted. The peers, transformers' `generate` with PEFT on batches of eight or on single
rows, do some arms on some turns, in turns with ours on the same, each reply as long as ours was; loading, rendering and the
choice of passages are not counted for them. Rows of other measures in the file are kept. On a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bot.agent import messages_for, resolve
from bot.bench.rows import Row, alternate, at_most, ratio
from bot.desk import Desk
from bot.engine.local.encode import encode, encode_reply
from bot.engine.local.model import load_base, load_tokenizer
from bot.evaluation.arms import Arm, Parts, all_arms
from bot.evaluation.asking import Asked, ask
from bot.evaluation.domain import common_decoding
from bot.evaluation.items import Item
from bot.evaluation.rooms import exact
from bot.knowledge.store import MemoryStore
from bot.runs.progress import Quiet
from bot.settings import load
from bot.training.split import split
from bot.training.train import train
from bot.training.transcripts import read_transcripts
from bot.types import Turn
from tests.load.keeping import circumstances, keep

DEMO = Path(__file__).parents[2]
SAMPLE = ("base", "few-shot", "adapter", "zero-shot+knowledge", "prompt+adapter+knowledge", "soft-prompt+knowledge")
HELD_OUT, TOGETHER = 0.5, 8


def workspace(root: Path) -> Path:
    """The demo with its domains in one → the recipe."""
    for name in ("prompts", "knowledge"):
        shutil.copytree(DEMO / name, root / name)
    shutil.copytree(DEMO / "adapters" / "returns", root / "adapters" / "joined", ignore=shutil.ignore_patterns("v*"))
    for path in (DEMO / "adapters").glob("*/transcripts/*.jsonl"):
        shutil.copy(path, root / "adapters" / "joined" / "transcripts")
    return root / "adapters" / "joined" / "recipe.yaml"


def open_desk(root: Path) -> Desk:
    return Desk(exact(load(workspace=root, threads=os.cpu_count() or 1)))


def parts(recipe: Path, desk: Desk, epochs: int) -> Parts:
    """Trained, with the demo's newest prompts."""
    given = [f"epochs={epochs}", f"held_out={HELD_OUT}", "canaries=0"]
    lora = train(recipe, desk, given)
    soft = train(recipe, desk, [*given, "method=soft-prompt"])
    assert lora, "one process trains"
    assert soft, "one process trains"
    return Parts(
        "support@2", "support-examples@2", "support-steps@2", lora.adapter.ref, "support@2", soft.adapter.ref, "support@2",
        "larkmoor",
    )  # fmt: skip


async def held_out(recipe: Path, desk: Desk, count: int) -> list[Item]:
    """So many agent's turns of the conversations that were not trained on."""
    transcripts = read_transcripts(recipe.parent / "transcripts", clean_personal_data=False)
    knowledge, items = desk.knowledge_on(MemoryStore()), []
    for conversation in split(transcripts.conversations, HELD_OUT)[1]:
        for number, message in enumerate(conversation.messages):
            if message.role == "assistant" and len(items) < count:
                history = conversation.messages[:number]
                asked = [earlier.content for earlier in history if earlier.role == "user"]
                found = await knowledge.search_turn(asked, "larkmoor", desk.settings.passages)
                items.append(Item(f"{conversation.id}/{number}", conversation.id, history, message.content, found or ()))
    knowledge.close()
    assert len(items) == count, f"only {len(items)} turns are held out"
    return items


class Peer:
    """One arm on transformers and PEFT. `lengths` are tokens of each item's reply."""

    def __init__(self, desk: Desk, arm: Arm, items: Sequence[Item], lengths: dict[str, int]) -> None:
        from peft import PeftModel

        self._tokenizer = load_tokenizer(desk.base)
        mix, prompt = resolve(arm.spec, desk.adapters, desk.prompts)
        self._model: Any = load_base(desk.base, torch.float32)
        if mix.parts:
            self._model = PeftModel.from_pretrained(self._model, str(mix.parts[0][0].path)).eval()
        turns = [Turn(item.history, arm.spec) for item in items]
        passages = [item.passages if arm.with_knowledge else None for item in items]
        examples = tuple(prompt.prompt.examples) if prompt else ()
        pairs = zip(turns, passages, strict=True)
        messages = [messages_for(turn, prompt, examples, found, mix, 120, desk.engine) for turn, found in pairs]
        rows = [(m, item.reference, lengths[item.id]) for m, item in zip(messages, items, strict=True)]
        self._rows = sorted(rows, key=lambda row: sum(len(message.content) for message in row[0]))

    @torch.inference_mode()
    def work_off(self, together: int) -> None:
        """Every reply, and the loss of every reference."""
        for start in range(0, len(self._rows), together):
            some = self._rows[start : start + together]
            prompts = [encode(self._tokenizer, messages) for messages, _, _ in some]
            width, longest = max(map(len, prompts)), max(length for _, _, length in some)
            ids = torch.tensor([[0] * (width - len(row)) + row for row in prompts])
            seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
            self._model.generate(
                input_ids=ids, attention_mask=seen, max_new_tokens=longest, min_new_tokens=longest, do_sample=False,
                pad_token_id=0,
            )  # fmt: skip
            whole = [encode_reply(self._tokenizer, messages, reference) for messages, reference, _ in some]
            width = max(len(row) for row, _ in whole)
            ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in whole])
            seen = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in whole])
            labels = torch.tensor([[-100] * at + row[at:] + [-100] * (width - len(row)) for row, at in whole])
            self._model(input_ids=ids, attention_mask=seen, labels=labels)


async def against_peers(desk: Desk, arms: Sequence[Arm], items: Sequence[Item], asked: Asked, rounds: int) -> list[Row]:
    """Turns a second of ours and theirs, over some arms."""
    lengths = {(reply.arm, reply.item): reply.completion_tokens for reply in asked.replies}
    some = [arm for arm in arms if arm.name in SAMPLE]
    peers = [Peer(desk, arm, items, {item.id: lengths[arm.name, item.id] for item in items}) for arm in some]

    def rate(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[float]]:
        async def timed() -> float:
            start = time.perf_counter()
            await work()
            return len(some) * len(items) / (time.perf_counter() - start)

        return timed

    async def ours() -> None:
        await ask(some, items, (1,), desk, Quiet())

    async def singly() -> None:
        for arm in some:
            for item in items:
                await ask([arm], [item], (1,), desk, Quiet())

    async def theirs(together: int) -> None:
        for peer in peers:
            await asyncio.to_thread(peer.work_off, together)

    found = await alternate(
        {
            "ours": rate(ours), "singly": rate(singly), "one": rate(lambda: theirs(1)),
            "eight": rate(lambda: theirs(TOGETHER)),
        },
        rounds,
    )  # fmt: skip
    rows = [
        ratio("E1", "turns a second against one row at a time, transformers and PEFT", found["ours"], found["one"], 3),
        ratio("E1", "turns a second against one row at a time, the same engine", found["ours"], found["singly"], 3),
        ratio("E1", "turns a second against generate on batches of 8 per arm", found["ours"], found["eight"], 1.2),
    ]
    for row in rows:
        row.detail.update(arms=[arm.name for arm in some], turns=len(items), extrapolated="from these arms and turns to all")
    return rows


def numbers(asked: Asked) -> list[object]:
    """All that must repeat."""
    replies = [(r.arm, r.item, r.seed, r.text, r.reasoning, r.finish_reason, r.completion_tokens) for r in asked.replies]
    return [*replies, *asked.costs, *asked.failures, *asked.notes]


async def measure(root: Path, recipe: Path, made: Parts, turns: int, sample: int, rounds: int) -> list[Row]:
    desk = open_desk(root)
    arms, runs, seconds = all_arms(made, common_decoding(made, desk.prompts)), [], []
    items = await held_out(recipe, desk, turns)
    await desk.close()
    for _ in range(2):
        desk = open_desk(root)
        await desk.engine.load()
        start = time.perf_counter()
        runs.append(await ask(arms, items, (1,), desk, Quiet()))
        seconds.append(round(time.perf_counter() - start, 1))
        await desk.close()
    assert not runs[0].failures, runs[0].failures
    first, second = map(numbers, runs)
    apart = sum(one != other for one, other in zip(first, second, strict=True))
    tokens = sum(reply.completion_tokens for reply in runs[0].replies)
    detail = {"seconds": seconds, "arms": len(arms), "turns": turns, "reply_tokens": tokens}
    rows = [
        at_most(
            "E1", f"{len(arms)} arms, {turns} held-out turns, asked and scored", seconds[0] / 60, 15, "minutes", **detail
        ),
        at_most("E2", "numbers that differ when the same is asked twice", apart, 0, "numbers", of=len(first)),
    ]
    desk = open_desk(root)
    await desk.engine.load()
    rows += await against_peers(desk, arms, items[:: max(1, turns // sample)][:sample], runs[0], rounds)
    await desk.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=200, help="held-out turns that every arm answers")
    parser.add_argument("--sample", type=int, default=48, help="turns that the peers answer too")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    measured = circumstances(
        f"python -m tests.load.evaluate_speed --turns {options.turns} --sample {options.sample}"
        f" --rounds {options.rounds} --epochs {options.epochs}"
    )
    with tempfile.TemporaryDirectory() as folder:
        recipe = workspace(Path(folder) / "demo")
        desk = open_desk(recipe.parents[2])
        made = parts(recipe, desk, options.epochs)
        rows = asyncio.run(measure(recipe.parents[2], recipe, made, options.turns, options.sample, options.rounds))
    keep(options.out, rows, measured)


if __name__ == "__main__":
    main()
