"""The loss is that of the supervised tokens, whatever stands beside them in the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from bot.base import Base
from bot.engine.local.model import load_tokenizer
from bot.errors import DataError, TrainingError
from bot.runs.progress import Quiet
from bot.training import adapter as adapters
from bot.training.attention import attend_without_mask, without_mask
from bot.training.dataset import Row
from bot.training.lora import SharedDropout
from bot.training.loss import IGNORE, collate, features, held_out_loss, supervised_loss
from bot.training.recipe import Recipe
from bot.training.trainer import run

RECIPE = Recipe(prompt="support@1", targets=["q_proj", "up_proj"], rank=2, epochs=1, learning_rate=0.01, batch_size=3)


def make_row(length: int, supervised: int, seed: int = 0) -> Row:
    torch.manual_seed(seed)
    ids = torch.randint(20, 8000, (length,)).tolist()
    return Row("c", "q", (), "r", ids, [False] * (length - supervised) + [True] * supervised)


ROWS = [make_row(30, 4, 1), make_row(11, 9, 2), make_row(50, 1, 3), make_row(24, 23, 4)]


SOFT = Recipe(method="soft-prompt", prompt="support@1", virtual_tokens=5, epochs=1, batch_size=3)


@pytest.fixture(scope="module", params=[RECIPE, SOFT], ids=lambda recipe: recipe.method)
def model(request: pytest.FixtureRequest, make_base: Callable[..., Base]) -> Any:
    return adapters.attach(make_base(), request.param).eval()


def reference(model: Any, row: Row) -> torch.Tensor:
    """Summed loss of one row alone, with all logits and no padding."""
    labels = [token if said else IGNORE for token, said in zip(row.ids, row.mask, strict=True)]
    logits = model(input_ids=torch.tensor([row.ids])).logits[0, -len(row.ids) : -1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), reduction="sum")


@torch.no_grad()
def test_a_batch_costs_what_its_rows_cost_alone(model: Any) -> None:
    loss, tokens = supervised_loss(model, collate([features(row) for row in ROWS]))
    alone = sum(reference(model, row) for row in ROWS)
    assert tokens == 4 + 9 + 1 + 23
    torch.testing.assert_close(loss, alone, rtol=1e-5, atol=1e-4)
    assert held_out_loss(model, ROWS, 2) == pytest.approx(float(alone) / tokens, rel=1e-5)


@torch.no_grad()
def test_without_its_adapter_a_model_costs_what_its_base_does(model: Any, tiny_base: Base) -> None:
    with model.disable_adapter():
        loss, _ = supervised_loss(model, collate([features(row) for row in ROWS]))
    base = AutoModelForCausalLM.from_pretrained(tiny_base.path)
    torch.testing.assert_close(loss, sum(reference(base, row) for row in ROWS), rtol=1e-5, atol=1e-4)


def test_the_output_layer_sees_the_supervised_positions_only(model: Any) -> None:
    seen = []
    hook = model.get_output_embeddings().register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
    supervised_loss(model, collate([features(ROWS[0]), features(ROWS[2])]))
    hook.remove()
    assert seen == [(4 + 1, 32)]


def begun_alike(beginning: int, *lengths: int) -> list[Row]:
    ids = make_row(beginning, 1, 9).ids
    rows = [make_row(length, 5, number) for number, length in enumerate(lengths)]
    return [Row("c", "q", (), "r", ids + row.ids, [False] * beginning + row.mask) for row in rows]


def test_what_all_rows_begin_with_is_read_once_and_changes_neither_loss_nor_gradients(
    make_base: Callable[..., Base],
) -> None:
    model = adapters.attach(make_base(), RECIPE).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    rows = begun_alike(40, 12, 30, 7)
    read = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    loss, tokens = supervised_loss(model, collate([features(row) for row in rows]))
    hook.remove()
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert (sum(read), tokens) == (40 + 3 * 30, 15)
    model.zero_grad()
    alone = sum((reference(model, row) for row in rows), torch.zeros(()))
    alone.backward()
    torch.testing.assert_close(loss, alone, rtol=1e-5, atol=1e-4)
    assert gradients
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("change", [{"sliding_window": 8, "use_sliding_window": True}, {"rope_type": "dynamic"}], ids=str)
def test_a_base_whose_rows_would_not_be_what_they_are_keeps_its_masks(change: dict[str, Any]) -> None:
    shape = {"vocab_size": 8192, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_window_layers": 0}  # fmt: skip
    if "rope_type" in change:
        shape["rope_parameters"] = {"rope_theta": 10000.0, "rope_type": "dynamic", "factor": 2.0}  # type: ignore[assignment]
        change = {}
    torch.manual_seed(0)
    base = Qwen2ForCausalLM(Qwen2Config(**shape, **change)).eval()
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    attend_without_mask(model)
    assert not without_mask(model)
    rows = begun_alike(40, 12, 30, 7)
    loss, _ = supervised_loss(model, collate([features(row) for row in rows]))
    torch.testing.assert_close(loss, sum(reference(model, row) for row in rows), rtol=1e-5, atol=1e-4)


def test_dropout_leaves_out_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(64, 1001)
    dropout = SharedDropout(0.25).train()
    dropped = dropout(x)
    assert dropout(x) is dropped, "projections that read the same tensor get the same one back"
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.01)
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([4 / 3])
    assert not torch.equal(dropout(torch.ones(64, 1001)), dropped)
    assert dropout.eval()(x) is x


@torch.no_grad()
def test_a_layer_computes_what_pefts_own_does(make_base: Callable[..., Base]) -> None:
    model = adapters.attach(make_base(), RECIPE).eval()
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
    x = torch.randn(2, 3, layers[0].in_features)
    ours = layers[0](x)
    layers[0].lora_variant.clear()
    torch.testing.assert_close(ours, layers[0](x))
    assert not torch.equal(ours, layers[0].base_layer(x))


def test_of_a_soft_prompt_the_virtual_tokens_alone_are_trained(make_base: Callable[..., Base], tmp_path: Path) -> None:
    model = adapters.attach(make_base(), SOFT)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    run(model, SOFT, ROWS, ROWS, tmp_path, Quiet(), "float32")
    changed = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
    assert changed == ["prompt_encoder.default.embedding.weight"]


def test_a_soft_prompt_begins_as_the_words_it_is_given_or_as_others_of_the_base(make_base: Callable[..., Base]) -> None:
    base = make_base()
    words = load_tokenizer(base)("Next step: wait.", add_special_tokens=False)["input_ids"]
    recipe = SOFT.model_copy(update={"start": "Next step: wait.", "virtual_tokens": 2 * len(words)})
    model = adapters.attach(base, recipe)
    vocabulary = model.get_input_embeddings().weight
    assert torch.equal(model.get_prompt(1)[0], vocabulary[words * 2])
    drawn = [adapters.attach(base, SOFT.model_copy(update={"seed": seed})).get_prompt(1)[0] for seed in (1, 2, 1)]
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    assert all((vocabulary == token).all(1).any() for token in drawn[0])


def test_a_loss_that_is_not_finite_ends_the_run(make_base: Callable[..., Base], tmp_path: Path) -> None:
    model = adapters.attach(make_base(), RECIPE)
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B" in name).fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 1"):
        run(model, RECIPE, ROWS, ROWS, tmp_path, Quiet(), "float32")


def test_a_target_that_the_base_lacks_is_refused_with_those_it_has(tiny_base: Base) -> None:
    with pytest.raises(DataError, match=r"wq.*down_proj, gate_proj, k_proj"):
        adapters.attach(tiny_base, RECIPE.model_copy(update={"targets": ["q_proj", "wq"]}))


def test_weights_that_are_not_finite_are_not_saved(make_base: Callable[..., Base], tmp_path: Path) -> None:
    model = adapters.attach(make_base(), RECIPE)
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_A" in name)[0, 0] = float("inf")
    with pytest.raises(TrainingError, match="not finite"):
        adapters.save(model, tmp_path, "starter")
    assert not list(tmp_path.iterdir())


def test_autocast_trains_too_and_what_is_measured_afterwards_is_float32(
    make_base: Callable[..., Base], tmp_path: Path
) -> None:
    model = adapters.attach(make_base(), RECIPE)
    ran = run(model, RECIPE, ROWS, ROWS, tmp_path, Quiet(), "bfloat16")
    assert ran == {"epochs": 1.0, "tokens": float(sum(len(row.ids) for row in ROWS))}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with torch.no_grad():
        alone = sum(float(reference(model.get_base_model(), row)) for row in ROWS)
    assert held_out_loss(model, ROWS, 4) == pytest.approx(alone / 37, rel=1e-6)
