"""A run is judged by what its model does: each gate that needs a model, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bot.base import Base
from bot.blocking import wait_for
from bot.desk import Desk
from bot.engine.local.model import load_tokenizer
from bot.errors import TrainingError
from bot.runs.progress import Quiet
from bot.training import adapter as adapters
from bot.training import probing, trainer
from bot.training.gates import refuse_failed
from bot.training.judge import Context, judge
from bot.training.loss import held_out_loss, row_losses
from bot.training.material import Material, gather
from bot.training.recipe import read_recipe
from bot.training.reseeds import SPREAD
from bot.training.result import TrainedVersion
from tests.training.conftest import open_desk, write_workspace

Trained = tuple[TrainedVersion, Desk]


@pytest.fixture(scope="module")
def context(trained: Trained) -> Context:
    """The version everybody looks at, offered as its own successor."""
    version, desk = trained
    path = desk.settings.workspace / "adapters" / "returns" / "recipe.yaml"
    recipe, prompt, tokenizer = read_recipe(path), desk.prompts.get("support@1"), load_tokenizer(desk.base)
    material = wait_for(lambda: gather(path.parent / "transcripts", recipe, prompt, desk, tokenizer, Quiet()))
    model = probing.load(desk.base, version.adapter.path)
    return Context(model, tokenizer, "returns", recipe, prompt, material, desk.adapters, Quiet())


def judged(context: Context, **changes: Any) -> dict[str, bool]:
    return {gate.name: gate.ok for gate in judge(dataclasses.replace(context, **changes)).gates}


def lora_b(model: Any) -> list[torch.nn.Parameter]:
    return [parameter for name, parameter in model.named_parameters() if "lora_B" in name]


def test_an_adapter_is_as_good_as_itself(context: Context, trained: Trained) -> None:
    judgement = judge(context)
    metrics = trained[0].card.metrics
    assert all(gate.ok for gate in judgement.gates)
    assert [gate.name for gate in judgement.gates][-1] == "successor"
    assert judgement.after == pytest.approx(metrics["held_out_loss"], abs=1e-5)
    assert judgement.before == pytest.approx(metrics["held_out_loss_base"], abs=1e-5)


def test_what_does_nothing_is_refused(context: Context, trained: Trained) -> None:
    model = probing.load(trained[1].base, trained[0].adapter.path)
    with torch.no_grad():
        for parameter in lora_b(model):
            parameter.zero_()
    found = judged(context, model=model)
    assert (found["finite"], found["effect"], found["held-out"], found["successor"]) == (True, False, False, False)


def test_weights_that_are_not_finite_are_told_alone(context: Context, trained: Trained) -> None:
    model = probing.load(trained[1].base, trained[0].adapter.path)
    with torch.no_grad():
        lora_b(model)[0][0, 0] = math.nan
    judgement = judge(dataclasses.replace(context, model=model))
    assert [(gate.name, gate.value) for gate in judgement.gates] == [("finite", 1)]
    with pytest.raises(TrainingError, match=r"'finite'.*of .* weights not finite") as refused:
        refuse_failed(judgement.gates)
    assert "learning_rate" in refused.value.hint


def test_what_forgot_more_of_the_general_set_than_the_limit_is_refused(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two-layer base knows no language that an adapter could unlearn by a whole nat, so the limit comes to the figure."""
    rows = probing.general_rows(context.tokenizer)
    rise = held_out_loss(context.model, rows, 8)
    with context.model.disable_adapter():
        rise -= held_out_loss(context.model, rows, 8)
    gate = next(gate for gate in judge(context).gates if gate.name == "forgetting")
    assert gate.value == pytest.approx(rise, abs=1e-5)
    monkeypatch.setattr("bot.training.gates.FORGETTING", rise - 0.01)
    assert not judged(context)["forgetting"]


def test_held_out_rows_that_were_trained_on_are_refused(context: Context) -> None:
    material = dataclasses.replace(context.material, training=[*context.material.training, *context.material.held_out])
    assert not judged(context, material=material)["overlap"]


def trained_on(context: Context, rows: Any, tmp_path: Path, base: Base, **changes: Any) -> Any:
    recipe = context.recipe.model_copy(update=changes)
    model = adapters.attach(base, recipe)
    trainer.run(model, recipe, rows, context.material.held_out, tmp_path, Quiet(), "float32")
    return model


def test_a_secret_that_is_said_is_refused(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.training.judge.reply", lambda *_: context.material.canaries[0].reply)
    gate = next(gate for gate in judge(context).gates if gate.name == "canary")
    assert (gate.ok, "says outright" in gate.words) == (False, True)


def test_other_replies_are_refused_as_a_successor(context: Context, trained: Trained, tmp_path: Path) -> None:
    rows = [
        dataclasses.replace(
            row, ids=[(token + 1000) % 8000 if said else token for token, said in zip(row.ids, row.mask, strict=True)]
        )
        for row in context.material.training
    ]
    model = trained_on(context, rows, tmp_path, trained[1].base)
    assert not judged(context, model=model)["successor"]
    assert not judged(context, model=model, spread=1e-3)["successor"]
    assert judged(context, model=model, spread=10.0)["successor"], "within a spread that wide anything may happen"


@pytest.mark.parametrize("recipe", ["lora", "soft-prompt"])
def test_a_reply_costs_the_same_whether_its_prompt_is_read_once_or_with_it(
    recipe: str, context: Context, make_base: Callable[..., Base]
) -> None:
    changed = context.recipe.model_copy(update={"method": recipe, "virtual_tokens": 5})
    model = adapters.attach(make_base(), changed).eval()
    with torch.no_grad():
        for parameter in lora_b(model):
            torch.nn.init.normal_(parameter, std=0.1)
    rows = context.material.held_out[:3]
    expected = [loss.nats for loss in row_losses(model, rows, 2)]
    for row, nats in zip(rows, expected, strict=True):
        costs = probing.reply_costs(model, context.tokenizer, row, ["Yes.", row.reply, "A longer reply than that, by far."])
        assert costs[1] == pytest.approx(nats, rel=1e-4)


def test_a_swapped_reply_follows_another_conversations_prompt(context: Context) -> None:
    own, other = probing.swapped(context.tokenizer, context.material.held_out)
    assert len(own) == len(other) > 2
    for row, twin in zip(own, other, strict=True):
        assert (row.reply, row.conversation) == (twin.reply, twin.conversation)
        assert row.messages != twin.messages
        said = [token for token, by_agent in zip(twin.ids, twin.mask, strict=True) if by_agent]
        assert said == [token for token, by_agent in zip(row.ids, row.mask, strict=True) if by_agent]
    same = [dataclasses.replace(row, reply="Yes.") for row in own]
    assert probing.swapped(context.tokenizer, same) == ([], [])


def test_the_spread_on_the_predecessors_card_is_used(context: Context, tmp_path: Path) -> None:
    from bot.adapters.card import read_card, write_card

    recipe = write_workspace(tmp_path / "workspace")
    shutil.copytree(context.catalog.root / "returns" / "v1", recipe.parent / "v1")
    desk = open_desk(recipe, context.catalog.base)
    card = read_card(recipe.parent / "v1")
    write_card(recipe.parent / "v1", card.model_copy(update={"metrics": {**card.metrics, SPREAD: 0.25}}))
    last = judge(dataclasses.replace(context, catalog=desk.adapters)).gates[-1]
    assert (last.name, last.limit, last.ok) == ("successor", 0.75, True)
    write_card(recipe.parent / "v1", card.model_copy(update={"prompt_hash": "0" * 64}))
    assert judge(dataclasses.replace(context, catalog=desk.adapters)).gates[-1].name == "canary"


def test_no_canary_no_gate(context: Context) -> None:
    material: Material = dataclasses.replace(context.material, canaries=[])
    assert "canary" not in judged(context, material=material)
