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
from bot.training.recipe import Recipe
from tests.conftest import ROOT


def trained(base: Base, folder: Path, launcher: list[str]) -> tuple[str, dict[str, torch.Tensor]]:
    folder.mkdir()
    script = ["-m", "tests.training.in_processes", str(base.path), str(folder / "work"), str(folder / "out.safetensors")]
    done = subprocess.run(
        [sys.executable, *launcher, *script],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, load_file(folder / "out.safetensors")


def test_two_processes_train_what_one_does(tiny_base: Base, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said_alone, alone = trained(tiny_base, tmp_path / "one", [])
    said_together, together = trained(tiny_base, tmp_path / "two", launcher)
    assert said_alone.split()[0] == "1"
    assert sorted(line.split()[0] for line in said_together.splitlines()) == ["2", "2"]
    # The same tokens in all, and the same weights but for the order in which numbers are added.
    assert {line.split()[1] for line in said_together.splitlines()} == {said_alone.split()[1]}
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=2e-4)
    assert any(not torch.equal(alone[f"before {name[6:]}"], alone[name]) for name in alone if name.startswith("after "))


def test_a_batch_that_cannot_be_shared_alike_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bot.training.trainer import _arguments

    monkeypatch.setenv("WORLD_SIZE", "3")
    recipe = Recipe(prompt="support@1", targets=["q_proj"], batch_size=8)
    with pytest.raises(DataError, match="batch_size is 8, which 3 processes cannot share alike"):
        _arguments(recipe, 20, tmp_path, torch.float32)
