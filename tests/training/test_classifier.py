"""A classifier from labelled messages, on an encoder or on the base: made, refused, served as it was measured."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from bot.adapters.card import CARD, read_card
from bot.base import Base
from bot.desk import Desk
from bot.engine.local.engine import LocalEngine
from bot.errors import DataError, Refused
from bot.files import sha256_file
from bot.settings import load
from bot.skeleton import SOURCE
from bot.training.classifier_card import TrainedClassifier
from bot.training.classifier_trainer import items_of, predict, run
from bot.training.heads import Backbone, OnEncoder, saved
from bot.training.labelled import parts_of, read_labelled
from bot.training.prepared import adapter_name
from bot.training.recipe import Recipe
from bot.training.reseeds import SPREAD
from bot.training.scores import loss
from bot.training.train import train
from tests.training.test_train import Ear

RECIPE = """
method: classifier
unfreeze: 2
learning_rate: 0.005
epochs: 6
batch_size: 8
patience: 6
max_tokens: 64
held_out: 0.3
seed: 3
"""
SAID = {
    "refund": ["refund my money", "where is my refund", "money back for the broken lamp"],
    "delivery": ["my parcel is late", "where is the parcel", "parcel late"],
    "other": ["thanks", "the person is late", "thanks person"],
}
TEXTS = [(text, label) for label, texts in SAID.items() for text in texts]
Trained = tuple[TrainedClassifier, Desk, Path]


def row(number: int) -> dict[str, object]:
    """A conversation of two messages, with labels."""
    said = [TEXTS[number % len(TEXTS)], TEXTS[(number * 5 + 2) % len(TEXTS)]]
    messages = [
        message
        for text, _ in said
        for message in ({"role": "user", "content": text}, {"role": "assistant", "content": "We see to it."})
    ]
    labels = [{"turn": 2 * place, "intent": label, "handoff": label == "other"} for place, (_, label) in enumerate(said)]
    return {"id": f"r-{number:03}", "messages": messages, "labels": labels}


def write_workspace(folder: Path) -> Path:
    """A workspace with 40 labelled transcripts, one broken → the recipe."""
    shutil.copytree(SOURCE, folder)
    transcripts = folder / "adapters" / "returns" / "transcripts"
    transcripts.mkdir(parents=True)
    (transcripts / "returns.jsonl").write_text("\n".join([*(json.dumps(row(n)) for n in range(40)), "{broken"]) + "\n")
    recipe = transcripts.parent / "recipe.yaml"
    recipe.write_text(RECIPE)
    return recipe


def open_desk(recipe: Path, base: Base, encoder: Base) -> Desk:
    return Desk(load(workspace=recipe.parents[2], base=str(base.path), encoder=str(encoder.path), dtype="float32"))


ON_BASE = ["backbone=base", "targets=[q_proj, v_proj]", "learning_rate=0.01"]


@pytest.fixture(scope="module", params=["encoder", "base"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_base: Base, tiny_encoder: Base
) -> Iterator[Trained]:
    recipe = write_workspace(tmp_path_factory.mktemp("classifier") / "workspace")
    desk = open_desk(recipe, tiny_base, tiny_encoder)
    overrides = ON_BASE if request.param == "base" else []
    trained = train(recipe, desk, overrides)
    assert isinstance(trained, TrainedClassifier)
    yield trained, desk, recipe
    asyncio.run(desk.close())


def test_its_card_says_what_it_stands_on_and_how_well_it_does(made: Trained) -> None:
    version, desk, _ = made
    card, folder = version.card, version.adapter.path
    on_encoder = version.adapter.encoder is not None
    stands_on = desk.encoder if on_encoder else desk.base
    assert desk.adapters.get("returns-intent") == version.adapter
    assert read_card(folder) == card
    assert (card.method, card.base, card.base_hash) == ("classifier", stands_on.path.name, stands_on.hash)
    assert card.labels == version.adapter.labels == ("delivery", "other", "refund")
    assert ("unfreeze" in card.recipe, "rank" in card.recipe, "prompt" in card.recipe) == (on_encoder, not on_encoder, False)
    assert card.files == {path.name: sha256_file(path) for path in folder.iterdir() if path.name != CARD}
    metrics = card.metrics
    assert metrics["held_out_accuracy"] > metrics["majority_accuracy"] + 0.2
    assert metrics["training_rows"] + metrics["held_out_rows"] == 80
    assert (metrics["bad_rows"], metrics["unlabelled_rows"]) == (1, 0)
    assert sum(row.training for row in version.labels) == metrics["training_rows"]
    assert [gate.name for gate in card.gates] == ["finite", "gain", "overlap"]
    assert all(gate.ok for gate in card.gates)
    assert card.gates[1].value == pytest.approx(metrics["held_out_macro_f1"] - metrics["majority_macro_f1"], abs=1e-5)
    for path in folder.iterdir():
        assert str(stands_on.path).encode() not in path.read_bytes()


def test_its_readme_and_its_text_show_labels_baselines_and_confusions(made: Trained) -> None:
    version, _, _ = made
    _, front, body = (version.adapter.path / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["pipeline_tag"] == "text-classification"
    shown = version.as_text()
    for words in ("most frequent", "TF-IDF", "macro-F1"):
        assert words in shown
        assert words in body
    assert all(f"| {label} |" in body for label in version.card.labels)
    for gate in version.card.gates:
        assert f"| {gate.name} | {gate.value:.4g} | {gate.limit:.4g} |" in body
        assert gate.words in shown
    assert [gate["name"] for gate in version.as_dict()["gates"]] == ["finite", "gain", "overlap"]
    for confusion in version.confusions[:5]:
        assert f"{confusion.wanted} taken for {confusion.given}" in shown
    assert json.loads(json.dumps(version.as_dict()))["adapter"] == "returns-intent@1"


async def test_the_engine_gives_the_labels_that_were_measured(made: Trained) -> None:
    version, desk, recipe = made
    rows = read_labelled(recipe.parent / "transcripts", "intent").rows
    held_out = parts_of(rows, 0.3).held_out
    engine = LocalEngine(desk.base, "float32")
    shares = [await engine.classify(row.text, version.adapter) for row in held_out]
    await engine.close()
    assert all(sum(share.values()) == pytest.approx(1) for share in shares)
    right = [max(share, key=share.__getitem__) == row.label for share, row in zip(shares, held_out, strict=True)]
    assert sum(right) / len(right) == pytest.approx(version.card.metrics["held_out_accuracy"], abs=1e-6)
    chances = [torch.tensor(share[row.label]).log() for share, row in zip(shares, held_out, strict=True)]
    assert -float(torch.stack(chances).mean()) == pytest.approx(version.card.metrics["held_out_loss"], abs=1e-4)


def test_a_saved_one_costs_what_it_cost_when_it_was_made(made: Trained) -> None:
    version, desk, recipe = made
    parts = parts_of(read_labelled(recipe.parent / "transcripts", "intent").rows, 0.3)
    backbone = saved(desk.encoder if version.adapter.encoder else desk.base, version.adapter)
    items = items_of(backbone, parts.held_out, parts.labels)
    found = loss(predict(backbone, items), np.array([item.label for item in items]))
    assert found == pytest.approx(version.card.metrics["held_out_loss"], abs=2e-6)


def test_only_the_head_and_the_thawed_layers_change(tiny_encoder: Base, tmp_path: Path, tiny_base: Base) -> None:
    recipe = write_workspace(tmp_path / "workspace")
    desk = open_desk(recipe, tiny_base, tiny_encoder)
    version = train(recipe, desk, ["unfreeze=1"])
    saved = load_file(version.adapter.path / "model.safetensors")
    own = load_file(tiny_encoder.path / "model.safetensors")
    assert {name.split(".")[2] for name in saved if name.startswith("encoder.")} == {"1"}
    assert {value.dtype for value in saved.values()} == {torch.float16}
    changed = [name for name in saved if name in own and not torch.equal(saved[name], own[name].half())]
    assert "encoder.layer.1.output.dense.weight" in changed


def test_layers_thaw_from_the_top_one_an_epoch(tiny_encoder: Base) -> None:
    backbone = OnEncoder(tiny_encoder, Recipe(method="classifier", unfreeze=2), 3)

    def free() -> set[str]:
        return {name.split(".")[3] for name, p in backbone.model.encoder.named_parameters(prefix="e") if p.requires_grad}

    for epoch, layers in ((0, {"1"}), (1, {"0", "1"}), (5, {"0", "1"})):
        backbone.thaw(epoch)
        assert free() == layers
    assert backbone.model.head.weight.requires_grad
    rates = [group["lr"] for group in backbone.groups(0.1, 0.0)]
    assert sorted(rates, reverse=True) == rates
    assert rates[0] > rates[-1] > 0


def test_more_layers_than_there_are_is_refused(tiny_encoder: Base) -> None:
    with pytest.raises(DataError, match=r"unfreeze is 3.*has 2 layers.*Lower it"):
        OnEncoder(tiny_encoder, Recipe(method="classifier", unfreeze=3), 3)


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[torch.nn.Parameter]], object]) -> None:
    """From now on every run ends with a change to what it trained, of which an encoder's head is the first."""

    def spoiled(backbone: Backbone, *rest: Any) -> dict[str, float]:
        ran = run(backbone, *rest)
        with torch.no_grad():
            change(backbone.trained())
        return ran

    monkeypatch.setattr("bot.training.classifier_trainer.run", spoiled)


def test_the_same_seed_gives_the_same_weights_and_a_worse_successor_is_refused(
    tiny_encoder: Base, tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_workspace(tmp_path / "workspace")
    desk = open_desk(recipe, tiny_base, tiny_encoder)
    first, second = train(recipe, desk), train(recipe, desk)
    assert first.card.files["model.safetensors"] == second.card.files["model.safetensors"]
    last = second.card.gates[-1]
    assert (last.name, last.value, last.ok) == ("successor", 0, True)
    assert "of returns-intent@1 in nats a message" in last.words
    spoil(monkeypatch, lambda trained: trained[0].zero_())
    with pytest.raises(Refused, match=r"gate 'successor': held-out loss .* of returns-intent@2 in nats a message"):
        train(recipe, desk)
    assert desk.adapters.versions("returns-intent") == [1, 2]


def test_further_seeds_tell_how_much_worse_a_successor_may_be(tiny_encoder: Base, tiny_base: Base, tmp_path: Path) -> None:
    recipe = write_workspace(tmp_path / "workspace")
    path = recipe.parent / "transcripts" / "returns.jsonl"
    # Of labels that contradict one another no seed makes a loss of 0.
    path.write_text(path.read_text().replace('"intent": "refund"', '"intent": "other"', 9))
    desk = open_desk(recipe, tiny_base, tiny_encoder)
    spread = train(recipe, desk, ["reseeds=2"]).card.metrics[SPREAD]
    assert 0 < spread < 1
    again = train(recipe, desk)
    assert again.card.gates[-1].limit == pytest.approx(3 * spread, abs=1e-5), (
        "the predecessor's, where it has none of its own"
    )
    assert SPREAD not in again.card.metrics


def test_one_that_gives_other_labels_is_not_compared_with(tiny_encoder: Base, tiny_base: Base, tmp_path: Path) -> None:
    recipe = write_workspace(tmp_path / "workspace")
    desk = open_desk(recipe, tiny_base, tiny_encoder)
    train(recipe, desk)
    path = recipe.parent / "transcripts" / "returns.jsonl"
    path.write_text(path.read_text().replace('"other"', '"rest"'))
    made = train(recipe, desk)
    assert made.adapter.ref == "returns-intent@2"
    assert [gate.name for gate in made.card.gates] == ["finite", "gain", "overlap"]


def test_messages_that_were_learned_from_do_not_judge(tiny_encoder: Base, tiny_base: Base, tmp_path: Path) -> None:
    recipe = write_workspace(tmp_path / "workspace")
    path = recipe.parent / "transcripts" / "returns.jsonl"
    for text in ("refund my money", "my parcel is late", "thanks person"):
        path.write_text(path.read_text().replace(f'"{text}"', f'"{text}, says the customer with the lamp"'))
    with pytest.raises(Refused, match=r"gate 'overlap': .*limit 0.3\)") as refused:
        train(recipe, open_desk(recipe, tiny_base, tiny_encoder))
    assert "Remove duplicates" in refused.value.hint
    assert "gain" not in refused.value.what


@pytest.mark.parametrize("backbone", [[], ON_BASE], ids=["encoder", "base"])
def test_weights_that_are_not_finite_are_told_alone(
    backbone: list[str], tiny_encoder: Base, tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda trained: trained[0][0, 0].fill_(torch.nan))
    recipe = write_workspace(tmp_path / "workspace")
    with pytest.raises(Refused, match=r"gate 'finite': of .* weights not finite, .* \(1, limit 0\)") as refused:
        train(recipe, open_desk(recipe, tiny_base, tiny_encoder), [*backbone, "epochs=1"])
    assert "gain" not in refused.value.what
    assert "learning_rate" in refused.value.hint
    assert not list((recipe.parent.parent / "returns-intent").glob("*"))


def test_labels_without_sense_make_no_version(tiny_encoder: Base, tiny_base: Base, tmp_path: Path) -> None:
    recipe = write_workspace(tmp_path / "workspace")
    path = recipe.parent / "transcripts" / "returns.jsonl"
    rows = [row(number) for number in range(40)]
    for number, one in enumerate(rows):
        for entry in one["labels"]:  # type: ignore[attr-defined]
            entry["intent"] = "even" if number % 2 else "odd"
    path.write_text("\n".join(json.dumps({**one, "messages": rows[0]["messages"]}) for one in rows))
    with pytest.raises(Refused, match=r"No version was made, gate 'gain': held-out macro-F1") as refused:
        train(recipe, open_desk(recipe, tiny_base, tiny_encoder), ["epochs=1"])
    assert "Check the labels" in refused.value.hint
    assert not list((recipe.parent.parent / "returns-intent").glob("*"))


def test_another_task_is_another_adapter(tiny_encoder: Base, tiny_base: Base, tmp_path: Path) -> None:
    recipe = write_workspace(tmp_path / "workspace")
    ear = Ear()
    version = train(recipe, open_desk(recipe, tiny_base, tiny_encoder), ["task=handoff"], ear)
    assert version.adapter.ref == "returns-handoff@1"
    assert version.adapter.labels == ("false", "true")
    assert any("returns.jsonl:41" in note for note in ear.notes)
    assert {step.stage for step in ear.steps} == {"reading", "training"}
    made = Recipe(method="classifier", task="handoff")
    for folder in ("returns", "returns-handoff"):
        assert adapter_name(tmp_path / folder / "recipe.yaml", made) == "returns-handoff"


def test_a_classifier_on_another_encoder_is_refused(
    made: Trained, make_encoder: Callable[..., Base], tiny_base: Base
) -> None:
    version, _, recipe = made
    if version.adapter.encoder is None:
        pytest.skip("it stands on the base")
    desk = open_desk(recipe, tiny_base, make_encoder(seed=9))
    with pytest.raises(Exception, match=r"another encoder.*Serve it with the setting encoder"):
        desk.adapters.get("returns-intent")
