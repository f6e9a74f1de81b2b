"""A soft prompt from a recipe: the way of a LoRA, but that only virtual tokens are trained, saved and served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from bot.adapters.card import CARD, read_card
from bot.base import Base
from bot.desk import Desk
from bot.engine.local.engine import LocalEngine
from bot.engine.local.model import load_tokenizer
from bot.errors import DataError
from bot.files import sha256_file
from bot.runs.progress import Quiet, Step
from bot.training import adapter as adapters
from bot.training.loss import held_out_loss
from bot.training.material import gather
from bot.training.prepared import adapter_name
from bot.training.recipe import read_recipe
from bot.training.result import TrainedVersion
from bot.training.train import train
from bot.training.trainer import run
from bot.types import Mix
from tests.training.conftest import open_desk, write_workspace
from tests.training.test_trainer import ROWS, SOFT

OVERRIDES = ["method=soft-prompt", "virtual_tokens=6", "learning_rate=0.1", 'start="Next step: call us."']
Trained = tuple[TrainedVersion, Desk, Path]


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory, make_base: Callable[..., Base]) -> Iterator[Trained]:
    recipe = write_workspace(tmp_path_factory.mktemp("soft") / "workspace")
    desk = open_desk(recipe, make_base())
    yield train(recipe, desk, OVERRIDES), desk, recipe
    asyncio.run(desk.close())


def test_it_is_an_adapter_of_its_own_with_a_card_and_better_than_the_base(soft: Trained) -> None:
    version, desk, _ = soft
    folder, card = version.adapter.path, version.card
    assert desk.adapters.get("returns-soft") == version.adapter
    assert (version.adapter.ref, version.adapter.virtual_tokens) == ("returns-soft@1", 6)
    assert read_card(folder) == card
    assert (card.method, card.recipe["virtual_tokens"], "rank" in card.recipe) == ("soft-prompt", 6, False)
    assert card.files == {path.name: sha256_file(path) for path in folder.iterdir() if path.name != CARD}
    assert set(card.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert card.metrics["held_out_loss"] < card.metrics["held_out_loss_base"]
    assert card.metrics["training_rows"] + card.metrics["held_out_rows"] == 36
    assert {name: tensor.shape for name, tensor in load_file(folder / "adapter_model.safetensors").items()} == {
        "prompt_embeddings": (6, 32)
    }
    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["tags"] == ["soft-prompt", "customer-service"]
    assert "A soft prompt of 6 virtual tokens" in body
    for path in folder.iterdir():
        assert str(desk.base.path).encode() not in path.read_bytes()
    assert json.loads((folder / "adapter_config.json").read_text())["tokenizer_name_or_path"] == desk.base.path.name


async def test_the_engine_scores_the_held_out_rows_as_the_card_says(soft: Trained) -> None:
    version, desk, path = soft
    recipe, prompt = read_recipe(path, OVERRIDES), desk.prompts.get("support@1")
    material = await gather(path.parent / "transcripts", recipe, prompt, desk, load_tokenizer(desk.base), Quiet())
    engine = LocalEngine(desk.base, "float32")
    for mix, key in ((Mix(((version.adapter, 1.0),)), "held_out_loss"), (Mix(), "held_out_loss_base")):
        scores = [score for row in material.held_out for score in await engine.score(row.messages, row.reply, mix)]
        assert -sum(scores) / len(scores) == pytest.approx(version.card.metrics[key], abs=1e-4)
    await engine.close()


def test_plain_peft_loads_it_and_reads_its_tokens_first(soft: Trained) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    version, desk, _ = soft
    model = AutoModelForCausalLM.from_pretrained(desk.base.path).eval()
    virtual = load_file(version.adapter.path / "adapter_model.safetensors")["prompt_embeddings"]
    ids = torch.tensor([[1, 3, 40, 50, 60]])
    with torch.no_grad():
        expected = model(inputs_embeds=torch.cat((virtual[None], model.get_input_embeddings()(ids)), 1)).logits
        assert torch.equal(PeftModel.from_pretrained(model, version.adapter.path)(ids).logits, expected)


def test_the_virtual_tokens_count_among_those_a_row_may_have(soft: Trained) -> None:
    _, desk, recipe = soft
    with pytest.raises(DataError, match=r"36 of 36 replies are longer than 34 tokens"):
        train(recipe, desk, [*OVERRIDES, "max_tokens=40"])


def test_its_name_is_the_folders_with_soft_once(tmp_path: Path) -> None:
    for folder, method, name in (
        ("returns", "lora", "returns"),
        ("returns", "soft-prompt", "returns-soft"),
        ("returns-soft", "soft-prompt", "returns-soft"),
    ):
        recipe = SOFT.model_copy(update={"method": method})
        assert adapter_name(tmp_path / folder / "recipe.yaml", recipe) == name


def test_the_best_epoch_is_kept(make_base: Callable[..., Base], tmp_path: Path) -> None:
    class Ear(Quiet):
        def __init__(self) -> None:
            self.seen: set[float | None] = set()

        def step(self, step: Step) -> None:
            self.seen.add(step.held_out)

    recipe = SOFT.model_copy(update={"epochs": 5, "patience": 5, "learning_rate": 1.0})
    model = adapters.attach(make_base(), recipe)
    ear = Ear()
    run(model, recipe, ROWS[:2], ROWS[2:], tmp_path, ear, "float32")
    losses = [loss for loss in ear.seen if loss is not None]
    assert len(losses) == 5
    assert held_out_loss(model, ROWS[2:], 3) == pytest.approx(min(losses), abs=1e-6)


def test_autocast_trains_it_too_and_what_is_measured_afterwards_is_float32(
    make_base: Callable[..., Base], tmp_path: Path
) -> None:
    model = adapters.attach(make_base(), SOFT)
    run(model, SOFT, ROWS, ROWS, tmp_path, Quiet(), "bfloat16")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    ids = torch.tensor([ROWS[0].ids])
    with torch.no_grad():
        inputs = torch.cat((model.get_prompt(1), model.get_input_embeddings()(ids)), 1)
        assert torch.equal(model(input_ids=ids).logits, model.get_base_model()(inputs_embeds=inputs).logits)
