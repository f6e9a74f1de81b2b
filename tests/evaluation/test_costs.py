"""What arms take, by hand; a price file that is no good is refused with place and rule."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bot.adapters.catalog import AdapterCatalog
from bot.base import Base
from bot.bench.shape import describe
from bot.errors import DataError
from bot.evaluation.arms import Arm
from bot.evaluation.costs import costs
from bot.evaluation.prices import DEFAULT, read_prices
from bot.evaluation.replies import Reply
from bot.prompts.library import PromptLibrary
from bot.types import AgentSpec
from tests.conftest import make_adapter

PRICES = {
    "currency": "EUR", "machine_hour": 3.6, "working_hour": 60, "minutes_per_transcript": 2, "minutes_per_prompt_version": 30,
    "per_million_tokens": {"prompt": 10, "reply": 100},
}  # fmt: skip


class _Labels:
    def resolve(self, name: str, label: str) -> tuple[int, str]:
        raise AssertionError("versions are pinned")


def written(folder: Path, **changes: object) -> Path:
    path = folder / "prices.yaml"
    path.write_text(yaml.safe_dump({**PRICES, **changes}))
    return path


def test_costs_by_hand(tmp_path: Path, workspace: Path, tiny_base: Base) -> None:
    folder = make_adapter(tiny_base, tmp_path / "adapters" / "returns" / "v1", 1)
    describe(tiny_base, folder)
    card = yaml.safe_load((folder / "card.yaml").read_text())
    card["metrics"] = {"seconds": 100.0, "training_conversations": 30.0}
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    arms = [
        Arm("base", "base", AgentSpec()),
        Arm("prompt+adapter", "prompt+adapter", AgentSpec("returns@1", "support@1")),
        Arm("silent", "base", AgentSpec()),
    ]
    replies = [
        Reply(arm, str(number), 1, "x", prompt_tokens=100, completion_tokens=11, first_token_ms=50, total_ms=total)
        for arm, total in (("base", 150.0), ("prompt+adapter", 250.0))
        for number in range(3)
    ]
    # 1.2 s in the batch took 0.6 s of the machine.
    catalog, prompts = AdapterCatalog(tmp_path / "adapters", tiny_base), PromptLibrary(workspace / "prompts", _Labels())
    base, both = costs(replies, arms, catalog, prompts, read_prices(written(tmp_path)), 0.6)
    assert (base.arm, base.first_token_ms, base.tokens_per_second, base.prompt_tokens, base.reply_tokens) == (
        "base",
        50,
        100,
        100,
        11,
    )
    assert (base.training_seconds, base.adapter_bytes, base.transcripts, base.money_once) == (0, 0, 0, 0)
    assert base.money_per_thousand == pytest.approx(1000 * (0.075 / 3600 * 3.6 + (100 * 10 + 11 * 100) / 1e6))
    assert both.tokens_per_second == 50
    assert (both.training_seconds, both.transcripts) == (100, 30)
    assert both.adapter_bytes == (folder / "adapter_model.safetensors").stat().st_size
    assert both.money_once == pytest.approx(60 + 30 + 0.1)


def test_the_shipped_prices_are_whole_and_explained() -> None:
    assert read_prices().currency
    lines = DEFAULT.read_text().splitlines()
    assert all(lines[number - 1].startswith("#") for number, line in enumerate(lines) if line and line[0].isalpha())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"machine_hour": -1}, "machine_hour: Input should be greater than or equal to 0"),
        ({"working_hour": float("nan")}, "working_hour"),
        ({"currency": ""}, "currency"),
        ({"coffee": 3}, "coffee: Extra inputs are not permitted"),
        ({"per_million_tokens": {"prompt": 1}}, "per_million_tokens.reply: Field required"),
    ],
)
def test_a_bad_price_file_is_told_with_place_and_rule(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(DataError) as error:
        read_prices(written(tmp_path, **changes))
    assert told in str(error.value)
    assert "prices.yaml" in str(error.value)
