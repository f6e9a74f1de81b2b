"""The steps of making a starter base, one command each: bank, tokenizer, train, evaluate, export, sample.

Contract: parses, calls, prints. Every folder is an argument; a finished step is not repeated unless its result is
deleted. `make starter` runs them in this order.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bot.starter.wordings import FOLDER, load

if TYPE_CHECKING:
    from bot.starter.model import Starter


def bank(options: argparse.Namespace) -> None:
    """Embed the wordings."""
    from bot.starter.loose import neighbours
    from bot.starter.meaning import Encoder
    from bot.starter.ranking import build

    folder = options.work / "bank"
    if (folder / "near.json").exists():
        return
    wordings, encoder = load(options.wordings), Encoder(fast=True)
    build(wordings, encoder).save(folder)
    texts = (text for fact in wordings.facts for text in (*fact.ask, *fact.say, *fact.more_ask, *fact.more_say))
    neighbours(texts, encoder, wordings.sheet("follow")["small_words"]).save(folder / "near.json")


def tokenizer(options: argparse.Namespace) -> None:
    """Learn the vocabulary from the first documents of the corpus."""
    from bot.starter.corpus import World
    from bot.starter.tokens import train_tokenizer, wrap

    if (options.work / "tokenizer" / "tokenizer.json").exists():
        return
    world = World.open(options.work / "bank", options.data, options.wordings)
    texts = (turn.text for number in range(options.documents) for turn in world.document(options.seed, number).turns)
    wrap(train_tokenizer(texts)).save_pretrained(options.work / "tokenizer")


def starter(options: argparse.Namespace) -> Callable[[], Starter]:
    """What a fresh run starts from."""

    def make() -> Starter:
        import torch

        from bot.starter.choosing import Signs
        from bot.starter.circuit import Parts, install_circuits
        from bot.starter.meaning import Encoder
        from bot.starter.model import Shape, Starter
        from bot.starter.tokens import open_tokenizer, token_texts
        from bot.starter.word_meaning import identities

        torch.manual_seed(options.seed)
        model = Starter(Shape(hidden=options.hidden, layers=options.layers, heads=options.heads, feed=options.feed))
        tokenizer = open_tokenizer(options.work / "tokenizer")
        rows = identities(token_texts(tokenizer), Parts(model.shape).identities, Encoder())
        install_circuits(model, options.seed, rows, Signs.of(tokenizer))
        return model

    return make


def train(options: argparse.Namespace) -> None:
    """Train, or go on training."""
    from bot.starter import train as loop
    from bot.starter.packing import Source

    source = Source(options.work / "bank", options.work / "tokenizer", options.data, options.seed, options.wordings)
    settings = loop.Settings(
        options.out or options.work / "model", int(options.tokens * 1e6), int(options.stop * 1e6), options.minutes,
        options.batch, options.workers, options.threads, device=options.device,
    )  # fmt: skip
    if options.nice:
        os.nice(options.nice)
    loop.train(settings, source, starter(options))


def evaluate(options: argparse.Namespace) -> None:
    """Measure a checkpoint or an exported folder."""
    from bot.starter.evaluate import evaluate as measure

    only = options.only.split(",")
    results = measure(options.model, options.work, options.data, options.items, only, options.threads, options.adapter)
    text = json.dumps(results, indent=1)
    if options.out:
        options.out.write_text(text)
    print(text)


def export(options: argparse.Namespace) -> None:
    """Write the folder that ships."""
    from bot.starter.export import export as write

    size = write(options.model, options.work / "tokenizer", options.out, options.results)
    print(f"{options.out}: {size / 1e6:.1f} MB")


def sample(options: argparse.Namespace) -> None:
    """Print documents of the corpus, as the model reads them."""
    from bot.starter.corpus import World

    world = World.open(options.work / "bank", options.data, options.wordings)
    for number in range(options.documents):
        document = world.document(options.seed, number)
        print(f"--- {number} {document.source}")
        print("\n".join(f"[{turn.speaker}] {turn.text}" for turn in document.turns))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m bot.starter", description=__doc__)
    steps = top.add_subparsers(dest="step", required=True)
    for step in (bank, tokenizer, train, evaluate, export, sample):
        sub = steps.add_parser(step.__name__, help=step.__doc__)
        sub.set_defaults(call=step)
        sub.add_argument("--work", type=Path, required=True, help="folder for bank, tokenizer and checkpoints")
        sub.add_argument("--data", type=Path, help="folder of real dialogues; without it the corpus is invented only")
        sub.add_argument("--wordings", type=Path, default=FOLDER)
        sub.add_argument("--seed", type=int, default=1)
        sub.add_argument("--out", type=Path)
        sub.add_argument("--threads", type=int, default=2)
        sub.add_argument("--documents", type=int, default=5 if step is sample else 40000)
        if step in (evaluate, export):
            sub.add_argument("--model", type=Path, required=True, help="a checkpoint file, or an exported folder")
            sub.add_argument("--items", type=int, default=200)
            sub.add_argument("--adapter", type=Path, help="a PEFT folder to put on the model")
            sub.add_argument("--only", default="", help="names of measures, with commas")
            sub.add_argument("--results", type=Path, help="results of evaluate, for the model card")
    loop = steps.choices["train"]
    for name, kind, default in (
        ("tokens", float, 100.0), ("stop", float, 1e9), ("minutes", float, 1e9), ("batch", int, 8192),
        ("hidden", int, 256), ("layers", int, 7), ("heads", int, 4), ("feed", int, 768), ("nice", int, 0),
        ("workers", int, 1), ("device", str, "cpu"),
    ):  # fmt: skip
        loop.add_argument(f"--{name}", type=kind, default=default)
    return top


if __name__ == "__main__":
    chosen = parser().parse_args()
    chosen.call(chosen)
