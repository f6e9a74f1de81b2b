"""From a recipe to a version that serves, or to nothing at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bot.adapters.card import CARD, Card, read_card
from bot.adapters.verify import verify
from bot.base import Base, open_base
from bot.desk import Desk
from bot.engine.local.engine import LocalEngine
from bot.engine.local.model import load_tokenizer
from bot.errors import AdapterError, Conflict, DataError, NotFound, RunError, TrainingError
from bot.files import sha256_file
from bot.runs.folder import TRAINING, RunFolder, Runs
from bot.runs.progress import Quiet, Step, progress_on_stderr
from bot.training import adapter as adapters
from bot.training import memory
from bot.training.facts import public_name
from bot.training.material import gather
from bot.training.model_card import model_card
from bot.training.recipe import read_recipe
from bot.training.result import TrainedVersion
from bot.training.train import train
from bot.training.version import publish
from bot.types import Mix
from tests.conftest import Ear

Trained = tuple[TrainedVersion, Desk]


def test_the_card_says_everything_and_every_file_is_what_it_says(trained: Trained) -> None:
    version, desk = trained
    folder, card, base = version.adapter.path, version.card, desk.base
    assert read_card(folder) == card
    assert folder == desk.settings.workspace / "adapters" / "returns" / "v1"
    assert (card.base_hash, card.tokenizer_hash, card.template_hash) == (base.hash, base.tokenizer_hash, base.template_hash)
    assert (card.prompt, card.prompt_hash) == ("support@1", desk.prompts.get("support@1").prompt.hash)
    transcripts = desk.settings.workspace / "adapters" / "returns" / "transcripts" / "returns.jsonl"
    assert card.data["transcripts/returns.jsonl"] == sha256_file(transcripts)
    assert card.data["knowledge/articles"] == desk.knowledge_on(None).snapshot("articles")  # type: ignore[arg-type]
    assert card.files == {path.name: sha256_file(path) for path in folder.iterdir() if path.name != CARD}
    assert set(card.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert (card.recipe["rank"], card.seed, card.name, card.version, card.method) == (4, 3, "returns", 1, "lora")
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.iterdir())


def test_it_is_better_than_the_base_and_says_by_how_much(trained: Trained) -> None:
    version, _ = trained
    metrics = version.card.metrics
    assert metrics["held_out_loss"] < metrics["held_out_loss_base"] - 0.05
    assert metrics["held_out_perplexity"] < metrics["held_out_perplexity_base"]
    assert metrics["training_rows"] + metrics["held_out_rows"] == 36
    assert (metrics["bad_rows"], metrics["too_long_rows"], metrics["epochs"]) == (1, 0, 2)
    text = version.as_text()
    assert "returns@1" in text
    assert [gate.name for gate in version.card.gates] == ["finite", "effect", "held-out", "forgetting", "overlap", "canary"]
    assert all(gate.ok and gate.name in text for gate in version.card.gates)
    assert version.as_dict()["gates"][1]["value"] > 0.01
    assert f"{metrics['held_out_loss_base']:.3f}" in text
    assert len(version.samples) == 3
    assert json.loads(json.dumps(version.as_dict()))["bad_rows"] == [str(version.bad_rows[0])]
    assert str(version.bad_rows[0]).startswith("returns.jsonl:25: ")


def test_no_file_holds_a_path_of_this_machine(trained: Trained) -> None:
    version, desk = trained
    for path in version.adapter.path.iterdir():
        content = path.read_bytes()
        assert str(desk.settings.workspace).encode() not in content
        assert str(desk.base.path).encode() not in content
    config = json.loads((version.adapter.path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == desk.base.path.name
    assert config["target_modules"] == ["down_proj", "q_proj", "v_proj"]


def test_the_readme_is_a_model_card(trained: Trained) -> None:
    version, _ = trained
    _, front, body = (version.adapter.path / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "peft"
    assert "| held-out perplexity |" in body
    assert all(f"| {gate.name} | {gate.value:.4g} |" in body for gate in version.card.gates)
    assert version.card.intended_use in body
    assert version.card.limits in body
    assert "support@1" in body
    named = model_card(version.card.model_copy(update={"base": "owner/name@main"}), version.samples)
    assert yaml.safe_load(named.split("---\n")[1])["base_model"] == "owner/name"


def test_the_catalog_offers_it_and_peft_loads_it_unchanged(trained: Trained) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    version, desk = trained
    adapter = desk.adapters.get("returns")
    assert adapter == version.adapter
    model = AutoModelForCausalLM.from_pretrained(desk.base.path).eval()
    ids = torch.tensor([[1, 3, 40, 50, 60]])
    with torch.no_grad():
        before = model(ids).logits
        after = PeftModel.from_pretrained(model, adapter.path)(ids).logits
    assert (after - before).abs().max() > 1e-2


async def test_the_engine_scores_the_held_out_rows_as_the_card_says(trained: Trained) -> None:
    version, desk = trained
    path = desk.settings.workspace / "adapters" / "returns" / "recipe.yaml"
    tokenizer, prompt = load_tokenizer(desk.base), desk.prompts.get("support@1")
    material = await gather(path.parent / "transcripts", read_recipe(path), prompt, desk, tokenizer, Quiet())
    engine = LocalEngine(desk.base, "float32")
    for mix, key in ((Mix(((version.adapter, 1.0),)), "held_out_loss"), (Mix(), "held_out_loss_base")):
        scores = [score for row in material.held_out for score in await engine.score(row.messages, row.reply, mix)]
        assert -sum(scores) / len(scores) == pytest.approx(version.card.metrics[key], abs=1e-4)
    await engine.close()


def test_a_second_run_is_the_next_version_with_the_same_weights(recipe: Path, desk: Desk) -> None:
    ear = Ear()
    first, second = train(recipe, desk, ["epochs=1"], ear), train(recipe, desk, ["epochs=1"])
    assert (first.adapter.ref, second.adapter.ref) == ("returns@1", "returns@2")
    weights = "adapter_model.safetensors"
    assert first.card.files[weights] == second.card.files[weights]
    assert desk.adapters.versions("returns") == [1, 2]
    assert str(first.bad_rows[0]) in ear.notes
    steps = [step for step in ear.steps if step.stage == "training"]
    assert (steps[-1].done, steps[-1].held_out) == (
        steps[-1].total,
        pytest.approx(first.card.metrics["held_out_loss"], abs=1e-5),
    )
    assert nothing_but_versions(recipe, 2)


def nothing_but_versions(recipe: Path, count: int) -> bool:
    """No half-made version."""
    entries = sorted(path.name for path in recipe.parent.iterdir())
    return entries == ["recipe.yaml", "transcripts", *(f"v{n}" for n in range(1, count + 1))]


def last_run(desk: Desk) -> RunFolder:
    return Runs(desk.settings.var, TRAINING).all()[0]


def test_a_run_leaves_what_it_said_and_no_checkpoint(trained: Trained) -> None:
    version, desk = trained
    folder = last_run(desk)
    assert (folder.run.state, folder.run.outcome, folder.run.source) == ("done", "returns@1", "adapters/returns/recipe.yaml")
    assert not folder.checkpoints.exists()
    assert list((folder.path / "tensorboard").iterdir())
    steps = [event for event in folder.events() if event.get("stage") == "training"]
    assert steps[-1]["done"] == steps[-1]["total"]
    assert steps[-1]["held_out"] == pytest.approx(version.card.metrics["held_out_loss"], abs=1e-5)
    assert any("GiB" in event.get("note", "") for event in folder.events())


def test_what_a_gate_refuses_is_no_version_and_cannot_be_resumed(recipe: Path, desk: Desk) -> None:
    with pytest.raises(TrainingError, match="gate 'effect': largest change to a logit"):
        train(recipe, desk, ["epochs=1", "learning_rate=1e-7"])
    assert nothing_but_versions(recipe, 0)
    folder = last_run(desk)
    assert (folder.run.state, folder.checkpoints.exists()) == ("failed", False)
    assert "gate 'effect'" in folder.run.message
    with pytest.raises(NotFound, match="without --resume"):
        train(recipe, desk, resume=True)


@pytest.mark.parametrize("broken", ["save", "attach", "reply"])
def test_whatever_breaks_leaves_a_run_that_goes_on(
    broken: str, recipe: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(adapters, broken, fail)
        with pytest.raises(OSError, match="No space"):
            train(recipe, desk, ["epochs=1"])
    assert nothing_but_versions(recipe, 0)
    assert last_run(desk).run.state == "interrupted"
    made = train(recipe, desk, resume=True)
    assert made
    assert made.card.recipe["epochs"] == 1
    assert nothing_but_versions(recipe, 1)


def test_what_stands_in_a_resumed_runs_way_takes_nothing_from_it(
    recipe: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, desk, ["epochs=3", "patience=3"], Stop())
    kept = sorted(last_run(desk).checkpoints.iterdir())
    assert kept
    with monkeypatch.context() as patch:
        patch.setattr(memory, "available", lambda _: 0)
        with pytest.raises(TrainingError, match=r"0\.0 GiB are free"):
            train(recipe, desk, resume=True)
    assert (last_run(desk).run.state, sorted(last_run(desk).checkpoints.iterdir())) == ("interrupted", kept)
    assert train(recipe, desk, resume=True)


def test_a_run_that_would_not_fit_is_refused_with_what_would(
    recipe: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "needed", lambda *_: 8 * memory.GIB)
    monkeypatch.setattr(memory, "available", lambda _: 3 * memory.GIB)
    with pytest.raises(TrainingError, match=r"takes about 8\.0 GiB; 3\.0 GiB are free\. Set batch_size to 3, or lower"):
        train(recipe, desk)
    assert last_run(desk).run.state == "failed"


class Stop(Ear):
    """At the first step after a measurement, and so after a checkpoint."""

    measured = 10**9

    def step(self, step: Step) -> None:
        super().step(step)
        if step.stage == "training" and step.held_out is not None:
            self.measured = min(self.measured, step.done)
            if step.done > self.measured:
                raise KeyboardInterrupt


def test_a_run_that_is_stopped_goes_on_where_it_was(recipe: Path, desk: Desk) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, desk, ["epochs=3", "patience=3", "evaluations=2"], Stop())
    folder = last_run(desk)
    assert (folder.run.state, folder.run.message) == ("cancelled", "Stopped by hand.")
    assert len(list(folder.checkpoints.iterdir())) == 1
    assert nothing_but_versions(recipe, 0)
    whole = train(recipe, desk, ["epochs=3", "patience=3", "evaluations=2"])
    ear = Ear()
    resumed = train(recipe, desk, progress=ear, resume=True)
    assert min(step.done for step in ear.steps if step.stage == "training") > 1
    assert whole
    assert resumed
    weights = "adapter_model.safetensors"
    assert resumed.card.files[weights] == whole.card.files[weights]
    assert last_run(desk).run.id != folder.run.id


def test_a_run_goes_on_only_with_what_it_began_with(recipe: Path, desk: Desk) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, desk, [], Stop())
    transcripts = recipe.parent / "transcripts" / "returns.jsonl"
    before = transcripts.read_text()
    transcripts.write_text("\n".join(before.splitlines()[:-2]))
    recipe.write_text(recipe.read_text().replace("epochs: 2", "epochs: 3"))
    with pytest.raises(RunError, match=r"since it began, returns\.jsonl, the recipe changed.*without --resume"):
        train(recipe, desk, resume=True)
    transcripts.write_text(before)
    recipe.write_text(recipe.read_text().replace("epochs: 3", "epochs: 2"))
    assert train(recipe, desk, resume=True)


def test_a_run_that_another_process_works_on_is_left_alone(recipe: Path, desk: Desk) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, desk, [], Stop())
    folder = last_run(desk)
    with folder.held(), pytest.raises(Conflict, match="is being worked on"):
        train(recipe, desk, resume=True)


def test_further_seeds_tell_what_chance_alone_changes(recipe: Path, desk: Desk) -> None:
    made = train(recipe, desk, ["epochs=1", "reseeds=2"])
    assert made
    assert 0 < made.card.metrics["held_out_spread"] < 1
    assert not list(desk.settings.var.glob("tmp*"))


def test_what_does_not_fit_is_refused_before_anything_is_trained(recipe: Path, desk: Desk) -> None:
    for override, error, says in (
        ("max_tokens=9999", DataError, "9,999"),
        ("max_tokens=40", DataError, "too few are left"),
        ("prompt=suport@1", NotFound, "support"),
        ("prompt=support@9", NotFound, "support@1"),
        ("knowledge=artikles", NotFound, "articles"),
        ("data=elsewhere", DataError, "no transcripts"),
        ("targets=[query]", DataError, "q_proj"),
    ):
        with pytest.raises(error, match=says):
            train(recipe, desk, [override])
    assert nothing_but_versions(recipe, 0)
    with pytest.raises(DataError, match="does not exist"):
        train(recipe.with_name("other.yaml"), desk)


def test_rows_that_are_too_long_are_counted_and_told(recipe: Path, desk: Desk) -> None:
    messages = [{"role": "user", "content": "why " * 600}, {"role": "assistant", "content": "Because."}]
    with (recipe.parent / "transcripts" / "long.jsonl").open("w") as file:
        file.write(json.dumps({"id": "long", "messages": messages}))
    ear = Ear()
    version = train(recipe, desk, ["epochs=1"], ear)
    assert version.card.metrics["too_long_rows"] == 1
    assert any("longer than 512 tokens" in note for note in ear.notes)


def test_a_version_that_would_not_be_served_is_not_made(trained: Trained, tmp_path: Path) -> None:
    version, desk = trained

    def cut(folder: Path) -> None:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / name).write_bytes((version.adapter.path / name).read_bytes()[:-8])

    with pytest.raises(AdapterError, match="refused"):
        publish(tmp_path / "returns", desk.base, version.card, cut, lambda _: "")
    assert not list((tmp_path / "returns").iterdir())


def test_of_two_runs_that_end_together_each_gets_a_number(trained: Trained, tmp_path: Path) -> None:
    version, desk = trained
    root = tmp_path / "returns"

    def copy(folder: Path) -> None:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / name).write_bytes((version.adapter.path / name).read_bytes())

    def meanwhile(card: Card) -> str:
        if card.version == 1:
            (root / "v1").mkdir()
            (root / "v1" / "theirs").touch()
        return ""

    adapter, card = publish(root, desk.base, version.card, copy, meanwhile)
    assert (adapter.ref, card.version, adapter.path) == ("returns@2", 2, root / "v2")
    assert verify("returns", 2, root / "v2", desk.base) == adapter
    assert sorted(path.name for path in root.iterdir()) == ["v1", "v2"]


def test_a_base_is_named_without_this_machines_paths(tiny_base: Base, tmp_path: Path) -> None:
    assert public_name(open_base("starter")) == "starter"
    assert public_name(tiny_base) == tiny_base.path.name
    assert public_name(Base("owner/name@main", tmp_path)) == "owner/name@main"


def test_the_bar_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_on_stderr() as progress:
        progress.note("a.jsonl:3: [bold]odd[/bold]")
        progress.step(Step("training", 1, 2, 3.25, 3.5, 1200.0))
    out = capsys.readouterr()
    assert not out.out
    assert "a.jsonl:3: [bold]odd[/bold]" in out.err
