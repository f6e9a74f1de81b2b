"""E3, planted truths on the demo: an adapter trained on shuffled replies, a prompt with wrong figures, and one arm under two
sampling seeds must come out as worse, worse and a tie, each in 19 of 20 reseeds.

    python -m tests.load.evaluate_truths --out tests/load/results/evaluate.json

A reseed is another draw of two thirds of the held-out conversations, another sampling seed and another seed of the bootstrap. Two
adapters are trained first, of half the transcripts, and compared under the prompt and with the passages that they were trained
with; training's gates refuse the shuffled one, so here they are not asked.
Worse, better or a tie is said as the verdict says it: by the first measure in the order of `choice.py` that is no tie. (Before, one
measure was named for each; which one was chosen after seeing figures.) Other rows of the file are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import random
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import yaml

from bot.bench.rows import Row
from bot.desk import Desk
from bot.evaluation.arms import Arm
from bot.evaluation.asking import Asked, ask
from bot.evaluation.choice import ORDER, between
from bot.evaluation.gathering import items_of
from bot.evaluation.items import Item
from bot.evaluation.measured import Measured
from bot.evaluation.measures.measure_all import measure_all
from bot.evaluation.rooms import exact
from bot.evaluation.statistics import compare
from bot.runs.progress import Quiet
from bot.settings import load
from bot.training.recipe import read_recipe
from bot.training.split import split
from bot.training.train import train
from bot.training.transcripts import Conversation, read_transcripts
from bot.types import AgentSpec, Message
from tests.conftest import ROOT
from tests.load.keeping import circumstances, keep

RESEEDS, LEAST = 20, 19
JUDGING = 0.5
"""Share of the conversations."""
DRAWN = 2 / 3
KNOWLEDGE = "larkmoor"
ARTICLES = ("what-you-can-return", "sending-an-order-back", "return-costs", "refunds")
LETTERS = 420
"""Of each article, so that the role fits with the conversation."""


def workspace(folder: Path) -> Path:
    """The demo's content, with a domain of shuffled replies beside the true one, a prompt with the articles' beginnings,
    one with their figures changed, and one that draws its replies."""
    root = folder / "desk"
    for part in ("adapters", "prompts", "knowledge"):
        shutil.copytree(ROOT / part, root / part)
    shutil.copytree(root / "adapters" / "returns", root / "adapters" / "shuffled")
    training = _parts(root)[0]
    replies = [m.content for one in training for m in one.messages if m.role == "assistant"]
    random.Random(1).shuffle(replies)
    for name in ("returns", "shuffled"):
        folder = root / "adapters" / name
        shutil.rmtree(folder / "v1")
        shutil.rmtree(folder / "transcripts")
        (folder / "transcripts").mkdir()
        # Under other ids: all that would be held out by these is judging already.
        rows = [
            {
                "id": f"training {one.id}",
                "messages": [{"role": m.role, "content": _said(m, replies, name)} for m in one.messages],
            }
            for one in training
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "transcripts" / "training.jsonl").write_text(text, encoding="utf-8")
    prompt = yaml.safe_load((root / "prompts" / "support" / "v2.yaml").read_text(encoding="utf-8"))
    articles = [(root / "knowledge" / "larkmoor" / f"{name}.md").read_text(encoding="utf-8") for name in ARTICLES]
    told = "\n".join(" ".join(text.split("---", 2)[-1].split())[:LETTERS] for text in articles)
    wrong = re.sub(r"\d+", lambda found: str(2 * int(found[0]) + 3), told)
    decoding = prompt["decoding"] | {"temperature": 0.8}
    for name, changes in {
        "truthful": {"role": f"{prompt['role']}Knowledge:\n{told}\n"},
        "mistaken": {"role": f"{prompt['role']}Knowledge:\n{wrong}\n"},
        "drawing": {"decoding": decoding},
    }.items():
        path = root / "prompts" / name / "v1.yaml"
        path.parent.mkdir()
        path.write_text(yaml.safe_dump(prompt | changes), encoding="utf-8")
    return root


def _parts(root: Path) -> tuple[list[Conversation], list[Conversation]]:
    """The demo's returns: what both adapters are trained on, and what judges them. No adapter ever meets the latter: one that
    had read its replies, if only in other conversations, would find them likely."""
    recipe = read_recipe(root / "adapters" / "returns" / "recipe.yaml")
    folder = root / "adapters" / "returns" / recipe.data
    found = read_transcripts(folder, recipe.scrub, recipe.nearly_the_same).conversations
    training, judging = split(found, JUDGING)
    return list(training), list(judging)


def _said(message: Message, replies: list[str], name: str) -> str:
    return replies.pop() if name == "shuffled" and message.role == "assistant" else message.content


def verdicts(measured: Sequence[Measured], items: Sequence[Item], arm: str, other: str, reseed: int) -> dict[str, str]:
    """By measure, what the drawn conversations say of `arm` against `other`."""
    names = sorted({item.conversation for item in items})
    drawn = set(random.Random(reseed).sample(names, round(DRAWN * len(names))))
    found: dict[str, str] = {}
    for one in measured:
        if one.name not in ORDER or not {arm, other} <= one.values.keys():
            continue
        places = [place for place, name in enumerate(one.conversations) if name in drawn]
        part = dataclasses.replace(
            one,
            conversations=tuple(one.conversations[place] for place in places),
            weights=tuple(one.weights[place] for place in places) if one.weights else (),
            values={name: tuple(one.values[name][place] for place in places) for name in (arm, other)},
        )
        pair = between(compare([part], other, reseed)[0], arm, other)
        found[one.name] = pair.verdict if pair else "not compared"
    return found


async def measure(root: Path, judging: Sequence[Conversation]) -> list[Row]:
    desk = Desk(exact(load(workspace=root)))
    try:
        items = await items_of(judging, KNOWLEDGE, desk, Quiet())
        arms = [
            Arm("true", "prompt+adapter", AgentSpec("returns@1", "support@2", KNOWLEDGE)),
            Arm("shuffled", "prompt+adapter", AgentSpec("shuffled@1", "support@2", KNOWLEDGE)),
            Arm("truthful", "zero-shot", AgentSpec("", "truthful@1")),
            Arm("mistaken", "zero-shot", AgentSpec("", "mistaken@1")),
        ]
        asked = await ask(arms, items, (0,), desk, Quiet())
        drawing = Arm("drawing", "prompt+adapter", AgentSpec("returns@1", "drawing@1"))
        drawn = await ask([drawing], items, tuple(range(2 * RESEEDS)), desk, Quiet())
        assert not asked.failures + drawn.failures, asked.failures + drawn.failures
        nothing = Asked((), (), ())
        measured = await measure_all(asked, nothing, nothing, items, arms, desk, Quiet())
        told: dict[str, list[dict[str, str]]] = {"shuffled": [], "mistaken": [], "twin": []}
        for reseed in range(RESEEDS):
            told["shuffled"].append(verdicts(measured, items, "shuffled", "true", reseed))
            told["mistaken"].append(verdicts(measured, items, "mistaken", "truthful", reseed))
            pair, twins = _twins(drawing, drawn, reseed)
            both = await measure_all(twins, nothing, nothing, items, pair, desk, Quiet())
            told["twin"].append(verdicts(both, items, "twin", "one", reseed))
    finally:
        await desk.close()
    return [
        _row("an adapter of shuffled replies is worse", told["shuffled"], "worse"),
        _row("a prompt with wrong figures is worse", told["mistaken"], "worse"),
        _row("an arm under another sampling seed is a tie", told["twin"], "tie"),
    ]


def _twins(drawing: Arm, drawn: Asked, reseed: int) -> tuple[list[Arm], Asked]:
    """The arm's replies under two seeds, as if two arms had given them."""
    seeds = {2 * reseed: "one", 2 * reseed + 1: "twin"}
    replies = tuple(
        dataclasses.replace(reply, arm=seeds[reply.seed], seed=0) for reply in drawn.replies if reply.seed in seeds
    )
    costs = tuple(dataclasses.replace(cost, arm=name) for name in seeds.values() for cost in drawn.costs)
    return [dataclasses.replace(drawing, name=name) for name in seeds.values()], Asked(replies, costs, ())


def decided(verdicts: dict[str, str]) -> str:
    """As the product decides: the first measure in its order that is no tie."""
    told = (verdicts[name] for name in ORDER if name in verdicts)
    return next((verdict for verdict in told if verdict in ("better", "worse")), "tie")


def _row(what: str, told: Sequence[dict[str, str]], wanted: str) -> Row:
    counts = {
        name: {verdict: sum(one.get(name) == verdict for one in told) for verdict in ("better", "tie", "worse")}
        for name in ORDER
    }
    value = sum(decided(one) == wanted for one in told)
    return Row("E3", what, value, f"of {RESEEDS} reseeds", f"≥ {LEAST}", value >= LEAST, {"verdicts": counts})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    measured = circumstances("python -m tests.load.evaluate_truths")
    with tempfile.TemporaryDirectory() as work:
        judging = _parts(ROOT)[1]
        root = workspace(Path(work))
        for name in ("returns", "shuffled"):
            with mock.patch("bot.training.train.refuse_failed"):
                train(root / "adapters" / name / "recipe.yaml", Desk(load(workspace=root)), (), Quiet())
        rows = asyncio.run(measure(root, judging))
    keep(out, rows, measured)


if __name__ == "__main__":
    main()
