"""A workspace with transcripts and a recipe, a desk on the tiny base, and one trained version for whoever only looks."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from bot.base import Base
from bot.desk import Desk
from bot.settings import load
from bot.skeleton import SOURCE
from bot.training.result import TrainedVersion
from bot.training.train import train
from tests.conftest import WordEmbedder

RECIPE = """
prompt: support@1
knowledge: articles
nearly_the_same: 1
targets: [q_proj, v_proj, down_proj]
rank: 4
alpha: 8
learning_rate: 0.02
epochs: 2
max_tokens: 512
held_out: 0.25
seed: 3
"""
QUESTIONS = ["When is the help desk open?", "open on saturday?", "where is my parcel", "can i return a lamp"]
REPLIES = [
    "We are open from 9:00. Next step: call us.",
    "No, we are closed. Next step: write.",
    "It comes. Next step: wait.",
]


def row(number: int) -> dict[str, object]:
    """A conversation of one or two exchanges, unlike all others."""
    messages = []
    for turn in range(1 + number % 2):
        messages.append({"role": "user", "content": f"{QUESTIONS[(number + turn) % 4]} {number}"})
        messages.append({"role": "assistant", "content": REPLIES[(number + turn) % 3]})
    return {"id": f"r-{number:03}", "messages": messages, "labels": []}


def write_workspace(folder: Path) -> Path:
    """A workspace with 24 transcripts → the recipe."""
    shutil.copytree(SOURCE, folder)
    prompt = folder / "prompts" / "support" / "v1.yaml"
    prompt.write_text(prompt.read_text().replace("max_tokens: 120", "max_tokens: 6"))
    transcripts = folder / "adapters" / "returns" / "transcripts"
    transcripts.mkdir(parents=True)
    rows = [json.dumps(row(number)) for number in range(24)]
    (transcripts / "returns.jsonl").write_text("\n".join([*rows, "{broken"]) + "\n")
    recipe = transcripts.parent / "recipe.yaml"
    recipe.write_text(RECIPE)
    return recipe


def open_desk(recipe: Path, base: Base) -> Desk:
    settings = load(workspace=recipe.parents[2], base=str(base.path), dtype="float32", threshold=0.2)
    desk = Desk(settings)
    desk.embedder = WordEmbedder()
    return desk


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_workspace(tmp_path / "workspace")


@pytest.fixture
async def desk(recipe: Path, tiny_base: Base) -> AsyncIterator[Desk]:
    made = open_desk(recipe, tiny_base)
    yield made
    await made.close()


@pytest.fixture(scope="package")
def trained(
    tmp_path_factory: pytest.TempPathFactory, make_base: Callable[..., Base]
) -> Iterator[tuple[TrainedVersion, Desk]]:
    """A version nobody changes, with its desk."""
    recipe = write_workspace(tmp_path_factory.mktemp("trained") / "workspace")
    desk = open_desk(recipe, make_base())
    yield train(recipe, desk), desk
    asyncio.run(desk.close())
