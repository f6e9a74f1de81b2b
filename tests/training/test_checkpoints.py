"""A run that was broken off, at whatever moment, goes on and ends with the very weights it would have had."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model_state_dict

from bot.base import Base
from bot.errors import TrainingError
from bot.runs.progress import Quiet, Step
from bot.training import adapter as adapters
from bot.training import checkpoints, trainer
from bot.training.recipe import Recipe
from tests.training.test_trainer import make_row

RECIPE = Recipe(
    prompt="support@1", targets=["q_proj", "up_proj"], rank=2, epochs=3, learning_rate=0.01, batch_size=3, evaluations=2,
    dropout=0.2, patience=9,
)  # fmt: skip
ROWS = [make_row(10 + 3 * number, 4 + number % 3, number) for number in range(18)]
STEPS = 18


class Broken(Exception):
    pass


class BreakOff(Quiet):
    def __init__(self, after: int) -> None:
        self.after = after

    def step(self, step: Step) -> None:
        if step.done == self.after:
            raise Broken


def weights(base: Base, work: Path, progress: Any = None, recipe: Recipe = RECIPE) -> dict[str, torch.Tensor]:
    model = adapters.attach(base, recipe)
    ran = trainer.run(model, recipe, ROWS[:15], ROWS[15:], work, progress or Quiet(), "float32")
    assert ran["tokens"] > 0
    return {name: tensor.clone() for name, tensor in get_peft_model_state_dict(model).items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


@pytest.fixture(scope="module")
def base(make_base: Callable[..., Base]) -> Base:
    return make_base()


@pytest.fixture(scope="module")
def whole(base: Base, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return weights(base, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("after", [1, 3, 4, 8, 14, 15])
def test_a_run_broken_off_goes_on_to_the_same_weights(
    after: int, base: Base, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    with pytest.raises(Broken):
        weights(base, tmp_path, BreakOff(after))
    assert same(weights(base, tmp_path), whole)


def test_a_run_that_had_ended_its_training_trains_no_more(
    base: Base, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    assert same(weights(base, tmp_path), whole)
    assert same(weights(base, tmp_path, BreakOff(STEPS)), whole)


def test_a_run_that_was_stopped_early_stays_so(base: Base, tmp_path: Path) -> None:
    hot = RECIPE.model_copy(update={"learning_rate": 0.9, "patience": 1, "epochs": 9})
    stopped = weights(base, tmp_path, recipe=hot)
    steps = json.loads((checkpoints.newest(tmp_path).path / "trainer_state.json").read_text())["global_step"]  # type: ignore[union-attr]
    assert steps < 9 * 5
    assert same(weights(base, tmp_path, BreakOff(steps + 1), hot), stopped)


def test_the_patience_that_was_used_up_stays_used_up(base: Base, tmp_path: Path) -> None:
    hot = RECIPE.model_copy(update={"learning_rate": 0.9, "patience": 2, "epochs": 9})
    stopped = weights(base, tmp_path / "whole", recipe=hot)
    last = checkpoints.newest(tmp_path / "whole")
    assert last
    steps = json.loads((last.path / "trainer_state.json").read_text())["global_step"]
    assert steps < 9 * 5
    # The measurement before the last one was already without a gain.
    with pytest.raises(Broken):
        weights(base, tmp_path / "broken", BreakOff(steps), hot)
    assert same(weights(base, tmp_path / "broken", BreakOff(steps + 1), hot), stopped)


def test_one_cut_off_while_it_was_saved_does_not_count(base: Base, whole: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(Broken):
        weights(base, tmp_path, BreakOff(8))
    last = checkpoints.newest(tmp_path)
    assert last
    assert last.path.name == "checkpoint-6"
    cut = tmp_path / "checkpoint-9"
    cut.mkdir()
    (cut / "trainer_state.json").write_text("{")
    assert same(weights(base, tmp_path), whole)


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"])
def test_one_that_was_damaged_does_not_count(file: str, base: Base, tmp_path: Path) -> None:
    with pytest.raises(Broken):
        weights(base, tmp_path, BreakOff(8))
    path = tmp_path / "checkpoint-6" / file
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    found = checkpoints.newest(tmp_path)
    assert found is None or found.path.name != "checkpoint-6"
    assert not path.exists()


def test_a_full_disk_ends_the_run_and_not_what_was_saved(
    base: Base, whole: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.save

    def full(value: Any, path: Any, *more: Any) -> None:
        if "checkpoint-6" in str(path) and "scheduler" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        save(value, path, *more)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"checkpoint-6 could not be written: .*No space.*--resume"):
        weights(base, tmp_path)
    assert not (tmp_path / "checkpoint-6").exists()
    monkeypatch.undo()
    assert checkpoints.newest(tmp_path).path.name == "checkpoint-3"  # type: ignore[union-attr]
    assert same(weights(base, tmp_path), whole)
