"""E5: Banking77 labelled by prompts, a soft prompt, a LoRA with a head on the causal base, and frozen MiniLM with logistic
regression, the trained ones from several numbers of messages.

    python -m tests.load.evaluate_labels --data D --out tests/load/results/evaluate.json [--limit N]

`D` holds train.csv and test.csv (or .csv.gz), columns text and category. Messages to learn from are taken label by label in
turn, so that each number holds the smaller ones; a tenth of them says when to stop. The test part is read once by each, at
the end. The few-shot prompt takes its examples from the smallest number. The base has read messages of Banking77's training
part, under other instructions: its prompts are that much better than on messages of a kind it never saw. On a machine that
does nothing else; `--limit` is for a trial, on so many test messages and the smallest number.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from bot.base import STARTER
from bot.bench.rows import Row
from bot.desk import Desk
from bot.evaluation.labellers import Head, Labeller, Prompted, VectorModel, make_pool, words
from bot.prompts.schema import parse_prompt
from bot.runs.progress import Quiet
from bot.settings import load
from bot.skeleton import SOURCE
from bot.training import adapter as adapters
from bot.training import trainer
from bot.training.facts import draft_card
from bot.training.labelled import Labelled, read_labelled
from bot.training.prepared import plan, prepare
from bot.training.scores import judge, vector_model
from bot.training.train import train
from bot.training.version import publish
from bot.types import Adapter, Mix
from tests.load.classify import Teller, table
from tests.load.keeping import circumstances, keep

TASK = "intent"
SIZES = (231, 770, 2310, 9000)
SEEN = {"soft prompt": 9000, "LoRA head": 27_000}
"""Messages that a training reads in all, so that it ends in time; at most `MOST` epochs."""
MOST = 12
LABEL = Path(__file__).parents[2] / "prompts" / "label" / "v1.yaml"
PLAIN = "technique: classify\nauthor: Switchboard\nnote: The message alone.\ndate: 2026-11-27\n"
TARGETS = "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]"
RECIPES = {
    "LoRA head": {
        "method": "classifier", "backbone": "base", "learning_rate": 0.002, "batch_size": 32, "rank": 16, "alpha": 32,
        "targets": TARGETS,
    },
    "soft prompt": {
        "method": "soft-prompt", "prompt": "plain@1", "virtual_tokens": 20, "learning_rate": 0.5, "batch_size": 32,
        "max_tokens": 256, "canaries": 0, "nearly_the_same": 1, "scrub": "false",
    },
}  # fmt: skip
DRAWS = 2000


class Bench:
    """A workspace in `folder` that is filled anew for each training."""

    def __init__(self, folder: Path, training: Sequence[Labelled], test: Sequence[Labelled]) -> None:
        self.workspace = folder / "workspace"
        shutil.copytree(SOURCE, self.workspace)
        for name, text in (("label", LABEL.read_text()), ("plain", PLAIN)):
            (self.workspace / "prompts" / name).mkdir()
            (self.workspace / "prompts" / name / "v1.yaml").write_text(text)
        self.training, self.test = in_turn(training), tuple(test)
        self.labels = tuple(sorted({message.label for message in training}))
        self.desk = Desk(load(workspace=self.workspace, base=str(STARTER), dtype="float32"))
        self.right: dict[tuple[str, int], np.ndarray] = {}

    def recipe(self, way: str, size: int) -> Path:
        """Of a training from the first `size` messages."""
        folder = self.workspace / "adapters" / f"{way.replace(' ', '-').lower()}-{size}"
        (folder / "transcripts").mkdir(parents=True)
        some = self.training[:size]
        if way == "soft prompt":
            with (folder / "transcripts" / "labels.jsonl").open("w", encoding="utf-8") as file:
                for message in some:
                    said = [("user", message.text), ("assistant", words(TASK, message.label))]
                    messages = [{"role": role, "content": content} for role, content in said]
                    file.write(json.dumps({"id": message.conversation, "messages": messages}) + "\n")
        else:
            with (folder / "transcripts" / "labels.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *((m.text, m.label) for m in some)])
        keys = RECIPES[way] | {"epochs": max(1, min(MOST, SEEN[way] // size)), "patience": 3, "held_out": 0.1, "seed": 1}
        (folder / "recipe.yaml").write_text("".join(f"{key}: {value}\n" for key, value in keys.items()))
        return folder / "recipe.yaml"

    async def row(self, way: str, size: int, labeller: Labeller, trained: float = 0.0) -> Row:
        """The way's figure on the test part, after learning from or choosing among `size` messages."""
        await labeller.scores(self.test[:1])
        start = time.perf_counter()
        scores = await labeller.scores(self.test)
        seconds = (time.perf_counter() - start) / len(self.test)
        given, wanted = [self.labels[place] for place in scores.argmax(1)], [message.label for message in self.test]
        right = self.right[way, size] = np.array(given) == np.array(wanted)
        found = judge(given, wanted)
        detail = {
            "messages": size, "interval": interval(right.astype(float)), "macro_f1": round(found.macro_f1, 4),
            "training_seconds": round(trained, 1), "ms_a_message": round(seconds * 1000, 2), "n": len(wanted),
        }  # fmt: skip
        return Row("E5", f"accuracy, {way}, {size} messages", round(found.accuracy, 4), "share", detail=detail)

    def needed(self, way: str, prompt: tuple[str, int]) -> Row:
        """From which number on the way is better than the prompt by more than chance."""
        sizes = sorted(size for name, size in self.right if name == way)
        gains = {size: interval(self.right[way, size] * 1.0 - self.right[prompt]) for size in sizes}
        least = next((s for s in sizes if all(gains[other][0] > 0 for other in sizes if other >= s)), None)
        detail = {"gain": {str(size): gain for size, gain in gains.items()}, "prompt": prompt[0]}
        return Row("E5", f"messages from which the {way} beats the better prompt", least, "messages", detail=detail)


def in_turn(messages: Sequence[Labelled]) -> tuple[Labelled, ...]:
    """One message of each label, then another of each, and so on; in each label by chance."""
    by_label: dict[str, list[Labelled]] = {}
    for message in sorted(messages, key=lambda message: message.conversation):
        by_label.setdefault(message.label, []).append(message)
    chance = random.Random(1)
    for some in by_label.values():
        chance.shuffle(some)
    return tuple(m for layer in zip_longest(*(by_label[label] for label in sorted(by_label))) for m in layer if m)


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % of the mean, by drawing messages anew."""
    drawn = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    return round(float(low), 4), round(float(high), 4)


async def prompts(bench: Bench) -> list[Row]:
    desk, prompt = bench.desk, parse_prompt(LABEL.read_text())
    few = bench.training[: SIZES[0]]
    pool = await make_pool(few, desk.embedder)
    return [
        await bench.row("zero-shot prompt", 0, Prompted(desk.engine, prompt, TASK, bench.labels, few)),
        await bench.row("few-shot prompt", SIZES[0], Prompted(desk.engine, prompt, TASK, bench.labels, few, pool)),
    ]


async def regression(bench: Bench, size: int) -> Row:
    start, some = time.perf_counter(), bench.training[:size]
    vectors = await bench.desk.embedder.embed([message.text for message in some])
    model = vector_model().fit(vectors, [message.label for message in some])
    trained = time.perf_counter() - start
    return await bench.row("frozen MiniLM", size, VectorModel(model, bench.desk.embedder, bench.labels), trained)


def lora_head(bench: Bench, size: int) -> tuple[Labeller, float]:
    made = train(bench.recipe("LoRA head", size), bench.desk, [], Quiet())
    assert made
    return Head(bench.desk.engine, made.adapter, bench.labels), made.card.metrics["seconds"]


def soft_prompt(bench: Bench, size: int) -> tuple[Labeller, float]:
    """Not by `train`: a labeller writes nothing but labels, so the gate that asks what it forgot would refuse it."""
    start, desk = time.perf_counter(), bench.desk
    prepared = prepare(plan(bench.recipe("soft prompt", size), desk, []), desk, Quiet())
    recipe, material = prepared.plan.recipe, prepared.material
    model = adapters.attach(desk.base, recipe)
    with tempfile.TemporaryDirectory() as work:
        trainer.run(model, recipe, material.training, material.held_out, Path(work), Quiet(), "float32")
    draft = draft_card(prepared.plan.name, desk.base, recipe, prepared.prompt, material, {}, ())
    root = bench.workspace / "adapters" / prepared.plan.name

    def readme(card: object) -> str:
        return "A soft prompt that answers with labels.\n"

    adapter: Adapter = publish(root, desk.base, draft, lambda place: adapters.save(model, place, draft.base), readme)[0]
    mix, prompt = Mix(((adapter, 1.0),)), prepared.prompt.prompt
    return (
        Prompted(desk.engine, prompt, TASK, bench.labels, bench.training[:size], mix=mix),
        time.perf_counter() - start,
    )


def measure(bench: Bench, sizes: Sequence[int], tell: Teller) -> list[Row]:
    """One after the other; trainings run outside of the event loop, which they open for themselves."""
    loop = asyncio.new_event_loop()
    rows: list[Row] = []

    def keep(*found: Row) -> None:
        rows.extend(found)
        for row in found:
            tell.note(f"{row.measure}: {row.value} {row.detail}")

    keep(*loop.run_until_complete(prompts(bench)))
    for size in sizes:
        keep(loop.run_until_complete(regression(bench, size)))
        for way, make in (("LoRA head", lora_head), ("soft prompt", soft_prompt)):
            labeller, seconds = make(bench, size)
            keep(loop.run_until_complete(bench.row(way, size, labeller, seconds)))
    best = max((("zero-shot prompt", 0), ("few-shot prompt", SIZES[0])), key=lambda prompt: bench.right[prompt].mean())
    keep(*(bench.needed(way, best) for way in ("soft prompt", "LoRA head", "frozen MiniLM")))
    loop.run_until_complete(bench.desk.close())
    loop.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=0)
    options = parser.parse_args()
    measured = circumstances("python -m tests.load.evaluate_labels" + (f" --limit {options.limit}" if options.limit else ""))
    with tempfile.TemporaryDirectory() as folder:
        training = read_labelled(table(options.data, "train", Path(folder) / "train"), TASK).rows
        test = list(read_labelled(table(options.data, "test", Path(folder) / "test"), TASK).rows)
        if options.limit:
            test = random.Random(1).sample(test, options.limit)
        bench = Bench(Path(folder), training, test)
        rows = measure(bench, SIZES[:1] if options.limit else SIZES, Teller())
    keep(options.out, rows, measured)


if __name__ == "__main__":
    main()
