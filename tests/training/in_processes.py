"""Trains the rows of `test_checkpoints.py`; run by `test_processes.py`, alone or in several processes at once.

python -m tests.training.in_processes BASE WORK OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

from peft import get_peft_model_state_dict
from safetensors.torch import save_file

from bot.base import Base
from bot.runs.progress import Quiet
from bot.training import adapter as adapters
from bot.training import trainer
from bot.training.processes import is_main, process_count
from tests.training.test_checkpoints import RECIPE, ROWS

if __name__ == "__main__":
    base, work, out = map(Path, sys.argv[1:])
    recipe = RECIPE.model_copy(update={"dropout": 0.0, "batch_size": 4, "epochs": 2})
    model = adapters.attach(Base(str(base), base), recipe)
    before = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(model).items()}
    ran = trainer.run(model, recipe, ROWS[:12], ROWS[15:], work, Quiet(), "float32")
    if is_main():
        tensors = {f"after {name}": tensor.contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
        save_file(tensors | {f"before {name}": tensor for name, tensor in before.items()}, out)
    sys.stdout.write(f"{process_count()} {ran['tokens']}\n")
