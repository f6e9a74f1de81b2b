"""A recipe is strict, pinned, and explains itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import DataError
from bot.training.recipe import Recipe, read_recipe
from tests.conftest import ROOT

SHIPPED = sorted((ROOT / "adapters").glob("*/recipe.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.parent.name)
def test_a_shipped_recipe_names_every_key_under_a_comment(path: Path) -> None:
    assert read_recipe(path).model_fields_set == set(Recipe.model_fields)
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith(("#", " ")):
            assert lines[number - 1].startswith("#"), f"{line} has no comment"


def test_a_recipe_is_shipped() -> None:
    assert SHIPPED


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("epoch: 2", "epoch"),
        ("prompt: support@production", "support@production"),
        ("prompt: support", "no version"),
        ("prompt: ../support@1", "not valid"),
        ("data: /somewhere", "absolute"),
        ("rank: 0", "rank"),
        ("dropout: 1", "dropout"),
        ("learning_rate: .nan", "learning_rate"),
        ("held_out: 0", "held_out"),
        ("targets: []", "targets"),
        ("method: magic", "method"),
        ("task: mood", "'intent', 'sentiment' or 'handoff'"),
        ("backbone: decoder", "'encoder' or 'base'"),
        ("unfreeze: -1", "unfreeze"),
        ("label_smoothing: 1", "label_smoothing"),
        ("virtual_tokens: 0", "virtual_tokens"),
        ("learning_rate: {soft-prompt: 0.1}", "lora needs one"),
        ("learning_rate: {lora: 0.1, softprompt: 0.1}", "softprompt"),
    ],
)
def test_a_bad_key_is_refused_by_name(line: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    key = line.partition(":")[0]
    kept = [text for text in ("prompt: support@1", "targets: [q_proj]") if not text.startswith(key + ":")]
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(DataError, match=says):
        read_recipe(path)


def test_each_method_has_its_own_step_size_and_a_card_states_only_what_applies(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("prompt: support@1\nlearning_rate: {lora: 0.003, soft-prompt: 0.1}\ntargets: [q_proj]")
    lora, soft = read_recipe(path), read_recipe(path, ["method=soft-prompt"])
    assert (lora.learning_rate, soft.learning_rate) == (0.003, 0.1)
    assert read_recipe(path, ["method=soft-prompt", "learning_rate=0.2"]).learning_rate == 0.2
    assert lora.used().keys() - soft.used().keys() == {"targets", "rank", "alpha", "rslora", "dropout"}
    assert soft.used().keys() - lora.used().keys() == {"virtual_tokens", "start"}
    path.write_text("prompt: support@1\nmethod: soft-prompt")
    assert read_recipe(path).learning_rate > Recipe(prompt="support@1", targets=["q_proj"]).learning_rate


def test_a_classifier_needs_no_prompt_and_targets_only_on_the_base(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("method: classifier\nlearning_rate: {lora: 0.003, classifier: 0.1}")
    on_encoder = read_recipe(path)
    assert (on_encoder.learning_rate, on_encoder.task, on_encoder.backbone) == (0.1, "intent", "encoder")
    assert {"task", "unfreeze", "dropout"} < on_encoder.used().keys()
    assert not {"prompt", "knowledge", "rank", "targets", "start"} & on_encoder.used().keys()
    with pytest.raises(DataError, match="targets names no layer"):
        read_recipe(path, ["backbone=base"])
    on_base = read_recipe(path, ["backbone=base", "targets=[q_proj]"])
    assert on_base.used().keys() - on_encoder.used().keys() == {"targets", "rank", "alpha", "rslora"}
    assert "unfreeze" not in on_base.used()
    with pytest.raises(DataError, match="prompt names none"):
        read_recipe(path, ["method=lora", "targets=[q_proj]"])


def test_overrides_win_and_are_as_strict(recipe: Path) -> None:
    made = read_recipe(recipe, ["epochs=7", "learning_rate=1e-4", "targets=[q_proj]", "knowledge="])
    assert (made.epochs, made.learning_rate, made.targets, made.knowledge) == (7, 1e-4, ["q_proj"], "")
    for bad in ("epochs", "=2", "epochs=many", "speed=2", "epochs=[1"):
        with pytest.raises(DataError):
            read_recipe(recipe, [bad])


def test_an_override_is_one_key(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("prompt: support@1\ntargets: [q_proj]\n")
    with pytest.raises(DataError, match="more than one override"):
        read_recipe(path, ["epochs=2\nrank: 3"])
