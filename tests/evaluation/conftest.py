"""A workspace whose domain has transcripts, an adapter with its card, and a scenario; a desk on the tiny base."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import yaml

from bot.adapters.card import Card, read_card, write_card
from bot.base import Base
from bot.desk import Desk
from bot.engine.scripted import ScriptedEngine
from bot.files import sha256_file
from bot.settings import load
from tests.conftest import WordEmbedder, make_adapter

HELD_OUT = 0.4


def row(number: int) -> dict[str, object]:
    """A conversation of one or two exchanges, unlike all others."""
    chance = random.Random(number)
    texts = [" ".join("".join(chance.choices("abcdefghij", k=6)) for _ in range(8)) for _ in range(4)]
    count = 2 + 2 * (number % 2)
    messages = [{"role": "assistant" if place % 2 else "user", "content": text} for place, text in enumerate(texts[:count])]
    return {"id": f"r-{number:03}", "messages": messages, "labels": [{"turn": 0, "sentiment": "neutral"}]}


def write_rows(folder: Path, rows: Sequence[dict[str, object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "returns.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return folder


def change_card(folder: Path, **values: object) -> Card:
    card = read_card(folder).model_copy(update=values)
    write_card(folder, card)
    return card


@pytest.fixture
def domain(workspace: Path, tiny_base: Base) -> Path:
    """The folder of the adapter `returns`, trained on 60 conversations."""
    folder = workspace / "adapters" / "returns"
    transcripts = write_rows(folder / "transcripts", [row(number) for number in range(60)])
    make_adapter(tiny_base, folder / "v1", 1)
    data = {"transcripts/returns.jsonl": sha256_file(transcripts / "returns.jsonl")}
    recipe = {"method": "lora", "data": "transcripts", "held_out": HELD_OUT, "scrub": False, "nearly_the_same": 1}
    change_card(folder / "v1", prompt="support@1", data=data, recipe=recipe)
    scenario = {
        "title": "Sending back", "description": "A return.", "openings": ["hello"],
        "agent": {"adapters": "returns", "prompt": "support@production", "knowledge": "articles"},
    }  # fmt: skip
    place = workspace / "prompts" / "scenarios" / "changed-my-mind.yaml"
    place.parent.mkdir(exist_ok=True)
    place.write_text(yaml.safe_dump(scenario))
    return folder


@pytest.fixture
async def desk(domain: Path, tiny_base: Base) -> AsyncIterator[Desk]:
    settings = load(workspace=domain.parents[1], base=str(tiny_base.path), engine="scripted", threshold=0.2)
    made = Desk(settings)
    made.embedder = WordEmbedder()
    made.engine = ScriptedEngine()
    yield made
    await made.close()
