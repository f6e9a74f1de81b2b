"""Several processes give what one gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bot.base import Base
from bot.errors import DataError
from bot.files import read_yaml
from bot.runs.folder import TRAINING, Runs
from bot.training.recipe import Recipe
from tests.training.conftest import write_workspace

SETTINGS = ("dropout=0", "batch_size=4", "epochs=2", "patience=2", "knowledge=")


def trained(base: Base, root: Path, launcher: list[str]) -> tuple[Path, dict[str, float]]:
    """The version that `bot train` makes in a new workspace, and what its card measured."""
    recipe = write_workspace(root)
    words = ["-m", "bot", "train", str(recipe), "--workspace", str(root), "--base", str(base.path)]
    done = subprocess.run(
        [sys.executable, *launcher, *words, *(word for text in SETTINGS for word in ("--set", text))],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "SWITCHBOARD_DTYPE": "float32"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("held-out perplexity") == 1, "one of them alone speaks"
    assert [run.run.state for run in Runs(root / "var", TRAINING).all()] == ["done"]
    versions = list(recipe.parent.glob("v*"))
    assert [version.name for version in versions] == ["v1"]
    return versions[0], read_yaml(versions[0] / "card.yaml")["metrics"]


def test_two_processes_make_the_version_that_one_makes(tiny_base: Base, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    alone, measured_alone = trained(tiny_base, tmp_path / "one", [])
    together, measured = trained(tiny_base, tmp_path / "two", launcher)
    same = ("held_out_loss", "held_out_loss_base", "training_rows", "held_out_rows", "epochs", "tokens")
    for name in same:
        assert measured[name] == pytest.approx(measured_alone[name], rel=1e-3), name
    # The same weights but for the order in which numbers are added.
    tensors = [load_file(version / "adapter_model.safetensors") for version in (alone, together)]
    for name, tensor in tensors[0].items():
        torch.testing.assert_close(tensors[1][name], tensor, rtol=1e-3, atol=2e-4)
    assert any(tensor.any() for name, tensor in tensors[0].items() if "lora_B" in name)


def test_a_batch_that_cannot_be_shared_alike_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bot.training.trainer import _arguments

    monkeypatch.setenv("WORLD_SIZE", "3")
    recipe = Recipe(prompt="support@1", targets=["q_proj"], batch_size=8)
    with pytest.raises(DataError, match="batch_size is 8, which 3 processes cannot share alike"):
        _arguments(recipe, 20, tmp_path, torch.float32)
