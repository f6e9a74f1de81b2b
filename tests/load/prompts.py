"""Rendering a prompt of 20 examples chosen by similarity, beyond the embedding itself: the median of many messages. By
count alone, and by a budget of tokens that the starter's tokenizer counts.

python tests/load/prompts.py --out tests/load/results/prompts.json
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.base import open_base
from bot.engine.local.encode import encode
from bot.engine.local.model import load_tokenizer
from bot.knowledge.embedding import SentenceEmbedder
from bot.prompts.render import render
from bot.prompts.schema import Prompt
from bot.prompts.select import Count, ExampleSelector
from bot.types import Message, Passage

EXAMPLES, SHOWN, BUDGET, TARGET_MS = 100, 20, 300, 5.0
THINGS = ("lamp", "hub", "bulb", "strip", "button", "parcel", "refund", "plan", "card", "code")


class Timed(SentenceEmbedder):
    """Keeps how long it took."""

    seconds = 0.0

    async def embed(self, texts: Sequence[str]) -> Any:
        start = time.perf_counter()
        try:
            return await super().embed(texts)
        finally:
            self.seconds += time.perf_counter() - start


def prompt(select: dict[str, Any]) -> Prompt:
    examples = [
        {
            "customer": f"What about my {THINGS[n % 10]} number {n}?",
            "agent": f"It is {n} days old.",
            "source": f"made up #{n}",
        }
        for n in range(EXAMPLES)
    ]
    return Prompt.model_validate(
        {
            "technique": "few-shot", "role": "You are {name}. Answer in one sentence.", "examples": examples,
            "select": {"by": "similarity", **select},
            "variables": {"name": {"description": "Who", "default": "Robin"}},
            "knowledge": {"found": "Knowledge: {passages}", "nothing": "None."},
            "author": "a", "note": "n", "date": "2026-11-27",
        }
    )  # fmt: skip


async def measure(messages: int, select: dict[str, Any], count: Count) -> float:
    embedder, made = Timed(), prompt(select)
    selector, taken = ExampleSelector(embedder), []
    passages = [Passage(f"a#{n}", "Title", "A sentence of an article. " * 8, "a") for n in range(3)]
    for number in range(messages):
        question = f"Hello, my {THINGS[number % 10]} is {number} days late."
        before, start = embedder.seconds, time.perf_counter()
        examples = await selector.select(made, question, count)
        sent = render(made, examples, {}, passages, [Message("user", question)])
        taken.append(time.perf_counter() - start - (embedder.seconds - before))
        assert 2 < len(sent) <= 2 + 2 * SHOWN
    embedder.close()
    return statistics.median(taken[5:]) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--messages", type=int, default=205)
    given = parser.parse_args()
    tokenizer = load_tokenizer(open_base("starter"))
    rows = []
    for what, select, count in (
        (f"{SHOWN} of {EXAMPLES} examples by similarity", {"count": SHOWN}, lambda _: 0),
        (
            f"{EXAMPLES} examples by similarity within {BUDGET} tokens",
            {"count": SHOWN, "tokens": BUDGET},
            lambda sent: len(encode(tokenizer, sent)),
        ),
    ):
        value = round(asyncio.run(measure(given.messages, select, count)), 2)
        row = {
            "id": "F", "measure": f"rendering {what}, beyond the embedding, median",
            "value": value, "unit": "ms", "target": TARGET_MS, "holds": value < TARGET_MS,
        }  # fmt: skip
        rows.append(row)
        print(row)
    report = {
        "made": datetime.date.today().isoformat(),
        "command": f"python tests/load/prompts.py --out {given.out}",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "rows": rows,
    }
    given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
