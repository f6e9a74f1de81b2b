"""D1: supervised tokens a second beside TRL's SFTTrainer, on the same rows, LoRA, batch, seed and precision."""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bot.bench.rows import Row, ratio
from bot.bench.shape import SMOL_135M, make_base
from bot.desk import Desk
from bot.runs.progress import Quiet, Step
from bot.training import adapter as adapters
from bot.training import trainer
from bot.training.loss import IGNORE, held_out_loss
from bot.training.prepared import Prepared
from tests.load.train_common import Bench, desk_of, prepared


class _Clock(Quiet):
    """When each step of training ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def step(self, step: Step) -> None:
        if step.stage == "training" and step.done > len(self.ends):
            self.ends.append(time.perf_counter())


def _rate(ends: list[float], supervised: int) -> float:
    """Tokens a second from the end of the first step on, as if all steps held alike many."""
    return supervised * (len(ends) - 1) / len(ends) / (ends[-1] - ends[0])


def ours(desk: Desk, given: Prepared) -> tuple[float, float]:
    """Supervised tokens a second, and held-out loss afterwards."""
    recipe, material = given.plan.recipe, given.material
    model, clock = adapters.attach(desk.base, recipe), _Clock()
    with tempfile.TemporaryDirectory() as work:
        trainer.run(model, recipe, material.training, material.held_out, Path(work), clock, "float32")
    supervised = sum(sum(row.mask) for row in material.training)
    return _rate(clock.ends, supervised), held_out_loss(model, material.held_out, recipe.batch_size)


def trl(desk: Desk, given: Prepared, tuned: bool) -> tuple[float, float]:
    """The same by TRL: tuned fairly, or as it comes but for learning rate, seed, one epoch and float32."""
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig, get_peft_model
    from transformers import TrainerCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    from bot.engine.local.model import load_base

    class Ends(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    disable_progress_bars()
    recipe, material, ends = given.plan.recipe, given.material, []
    set_seed(recipe.seed)
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout,
        target_modules=sorted(recipe.targets),
    )  # fmt: skip
    model = get_peft_model(load_base(desk.base, torch.float32), lora)
    rows = [
        {"input_ids": row.ids, "labels": [t if said else IGNORE for t, said in zip(row.ids, row.mask, strict=True)]}
        for row in material.training
    ]
    settings = {
        "gradient_checkpointing": False, "train_sampling_strategy": "group_by_length", "max_length": None,
        "dataloader_pin_memory": False, "per_device_train_batch_size": recipe.batch_size, "lr_scheduler_type": "cosine",
        "warmup_steps": recipe.warmup, "weight_decay": recipe.weight_decay,
    } if tuned else {}  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        config = SFTConfig(
            output_dir=work, num_train_epochs=1, learning_rate=recipe.learning_rate, use_cpu=True, bf16=False,
            seed=recipe.seed, report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True, **settings,
        )  # fmt: skip
        SFTTrainer(
            model, args=config, train_dataset=Dataset.from_list(rows), processing_class=given.tokenizer, callbacks=[Ends()]
        ).train()
    supervised = sum(sum(row.mask) for row in material.training)
    return _rate(ends, supervised), held_out_loss(model, material.held_out, recipe.batch_size)


def compare(name: str, desk: Desk, given: Prepared, rounds: int) -> list[Row]:
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "tuned": [], "default": []}
    for number in range(rounds):
        found["ours"].append(ours(desk, given))
        found["tuned"].append(trl(desk, given, tuned=True))
        if number == 0:
            found["default"].append(trl(desk, given, tuned=False))
    speeds = {arm: [round(rate, 1) for rate, _ in runs] for arm, runs in found.items()}
    losses = {arm: statistics.mean(loss for _, loss in runs) for arm, runs in found.items()}
    apart = abs(losses["ours"] / losses["tuned"] - 1)
    row = ratio("D1", f"{name}: supervised tokens a second against TRL tuned", speeds["ours"], speeds["tuned"], 1.3)
    row.detail.update(held_out={arm: round(loss, 4) for arm, loss in losses.items()}, rows=len(given.material.training))
    default = ratio("D1", f"{name}: against TRL's defaults", speeds["ours"][:1], speeds["default"], 0)
    return [
        row,
        Row("D1", f"{name}: held-out loss apart from TRL's", round(apart, 5), "share", "≤ 0.01", apart <= 0.01),
        Row("D1", default.measure, default.value, "times", None, None, default.detail),
    ]


def measure(bench: Bench) -> list[Row]:
    if importlib.util.find_spec("trl") is None:
        return [Row("D1", "supervised tokens a second against TRL: trl is not installed", None, "times", "≥ 1.3")]
    recipe = bench.workspace("starter", 0, 1100, held_out=0.09)
    desk = desk_of(recipe)
    found = compare("starter, 1,000 transcripts", desk, prepared(recipe, desk), 2)
    recipe = bench.workspace("smol", 0, 60, held_out=0.2, batch_size=4)
    desk = desk_of(recipe, str(make_base(bench.folder / "smol-base", SMOL_135M).path))
    return [*found, *compare("135M shape, 48 transcripts", desk, prepared(recipe, desk), 2)]
