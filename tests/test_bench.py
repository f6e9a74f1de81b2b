"""`bot bench serve` end to end on a model of two layers: every row is there, and the figures are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.bench import chats, latency, rows, serve
from bot.bench.arms import Server
from bot.bench.rows import at_most, ratio
from bot.bench.serve import Plan, run, write
from bot.errors import EngineError
from bot.types import Message
from tests.conftest import ROOT
from tests.load.readme import filled

SHAPE = {
    "vocab_size": 8192, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 2048, "tie_word_embeddings": True,
}  # fmt: skip


async def test_every_row_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "ARRIVALS", 12)
    monkeypatch.setattr(rows, "_PAUSE", 0.0)
    monkeypatch.setattr(serve, "RANKS", {2: 2, 4: 2})
    monkeypatch.setattr(serve, "LOADED", 1)
    said: list[str] = []
    plan = Plan(tmp_path / "bench", rounds=1, dtype="float32", resident=9, pairs=1, tokens=8, compared=8, shape=SHAPE)
    saved: list[int] = []
    report = await run(plan, said.append, lambda so_far: saved.append(len(so_far["rows"])))
    assert saved == sorted(saved)
    assert saved[-1] == len(report["rows"])
    assert {row["id"] for row in report["rows"]} == {
        "C1",
        "C2",
        "C3",
        "C4",
        "C5",
        "C6",
        "C7",
        "C8",
        "C9",
        "C10",
        "C11",
        "C12",
    }
    missing = [row["measure"] for row in report["rows"] if row["value"] is None]
    assert all("vLLM" in what or "llama.cpp" in what for what in missing)
    assert len(missing) == 5
    assert report["rows"][0]["detail"]["compared"] >= 4
    assert report["rows"][0]["holds"]
    left = next(row for row in report["rows"] if row["id"] == "C11" and row["unit"] == "rows")
    assert left["value"] == 0
    assert any(line.startswith(("ok", "miss")) for line in said)
    write(report, tmp_path / "serve.json")
    assert json.loads((tmp_path / "serve.json").read_text()) == report
    assert (tmp_path / "serve.svg").read_text().startswith("<?xml")


def test_readme_shows_the_latest_report() -> None:
    readme = (ROOT / "README.md").read_text()
    assert filled(readme) == readme
    assert "against one-at-a-time PEFT" in readme


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    row = ratio("C2", "x", [10, 30, 8], [5, 10, 8], 2)
    assert (row.value, row.holds, row.detail["range"]) == (2.0, True, [1.0, 3.0])
    assert ratio("C2", "x", [1], None, 2).value is None
    assert not at_most("C9", "x", 1.2, 1.1, "times").holds


def test_prompts_are_new_and_the_same_for_a_seed() -> None:
    one, other = chats.Chats(3), chats.Chats(3)
    assert one.prompts(2) == other.prompts(2)
    assert one.prompt() != chats.Chats(3).prompt()


async def test_a_server_that_is_not_there_is_told_with_the_next_step() -> None:
    server = Server("http://127.0.0.1:9/v1", 4)
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9/v1 gave no reply"):
        await chats.timed(server.stream([Message("user", "hi")]))
    await server.close()
