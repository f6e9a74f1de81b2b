"""The Hugging Face Trainer on an adapter: loss on the supervised tokens only, measured on held-out rows after every epoch.

Rows are padded on the right, so every position is what it is in serving, also behind the virtual tokens that PEFT puts
first. Logits are computed where a supervised token is next, nowhere else. Held-out loss is a mean over tokens, not over
batches, for base and adapter alike. This file and `adapter.py` are all of training that touches a model.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from bot.engine.local.model import choose_device, choose_dtype
from bot.errors import TrainingError
from bot.training.dataset import Row
from bot.training.paired import RowLoss, mean_loss
from bot.training.progress import Progress, Step
from bot.training.recipe import Recipe

IGNORE = -100
_SMOOTHING = 0.9


def collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right-padded int64 tensors of shape (rows, longest): input_ids, attention_mask, labels."""
    longest = max(len(row["input_ids"]) for row in rows)
    pads = [longest - len(row["input_ids"]) for row in rows]
    return {
        # Any id will do for padding: nothing attends to it and it has no label.
        "input_ids": torch.tensor([row["input_ids"] + [0] * pad for pad, row in zip(pads, rows, strict=True)]),
        "attention_mask": torch.tensor([[1] * (longest - pad) + [0] * pad for pad in pads]),
        "labels": torch.tensor([row["labels"] + [IGNORE] * pad for pad, row in zip(pads, rows, strict=True)]),
    }


def features(row: Row) -> dict[str, list[int]]:
    return {
        "input_ids": row.ids,
        "labels": [token if said else IGNORE for token, said in zip(row.ids, row.mask, strict=True)],
    }


def supervised_loss(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Negative log-likelihood in nats, summed over the batch's supervised tokens, and their number."""
    logits, wanted, chosen = _predicted(model, batch)
    return torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"), int(chosen.sum())


def _predicted(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Over the supervised tokens, row by row: logits (tokens, vocabulary) and wanted ids (tokens); and which places are
    supervised (rows, places)."""
    labels = batch["labels"]
    columns = (labels != IGNORE).any(0).nonzero()[:, 0]
    # The logits at a position speak about the next one. Counted from the end, since virtual tokens may stand in front.
    keep = columns - 1 - labels.shape[1]
    inputs: dict[str, Any] = {key: value for key, value in batch.items() if key != "labels"}
    can_choose = "logits_to_keep" in inspect.signature(model.get_base_model().forward).parameters
    if can_choose:
        inputs["logits_to_keep"] = keep
    logits = model(**inputs, use_cache=False).logits
    if not can_choose:
        logits = logits[:, keep]
    wanted = labels[:, columns]
    chosen = wanted != IGNORE
    return logits[chosen].float(), wanted[chosen], chosen


def row_losses(model: Any, rows: Sequence[Row], batch_size: int) -> list[RowLoss]:
    """What each row costs, in the order given, with the model in evaluation mode. Rows alike in length share a batch."""
    was_training = model.training
    model.eval()
    losses: dict[int, RowLoss] = {}
    ordered = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
    with torch.no_grad():
        for start in range(0, len(ordered), batch_size):
            numbers = ordered[start : start + batch_size]
            batch = collate([features(rows[number]) for number in numbers])
            logits, wanted, chosen = _predicted(model, {key: value.to(model.device) for key, value in batch.items()})
            nats = torch.nn.functional.cross_entropy(logits, wanted, reduction="none").double()
            counts = chosen.sum(1).tolist()
            for number, own, count in zip(numbers, torch.split(nats, counts), counts, strict=True):
                losses[number] = RowLoss(rows[number].conversation, float(own.sum()), count)
    model.train(was_training)
    return [losses[number] for number in range(len(rows))]


def held_out_loss(model: Any, rows: Sequence[Row], batch_size: int) -> float:
    """Mean negative log-likelihood a supervised token, in nats, with the model in evaluation mode."""
    return mean_loss(row_losses(model, rows, batch_size))


class _AdapterTrainer(Trainer):  # type: ignore[misc]
    """Keeps the running loss and the tokens read so far for whoever watches."""

    control: Any

    def __init__(self, held_out: Sequence[Row], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._held_out = held_out
        self.loss_is_scaled_for_ga = False
        self.running_loss: float | None = None
        self.tokens_read = 0

    def compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], *_: Any, **__: Any) -> torch.Tensor:
        total, tokens = supervised_loss(model, inputs)
        loss = total / tokens
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss became {value} at step {self.state.global_step + 1}.", "Train with a lower learning_rate."
            )
        before = self.running_loss if self.running_loss is not None else value
        self.running_loss = _SMOOTHING * before + (1 - _SMOOTHING) * value
        self.tokens_read += int(inputs["attention_mask"].sum())
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The Trainer's own averages over batches; this one averages over tokens."""
        metrics = {"eval_loss": held_out_loss(self.model, self._held_out, self.args.per_device_eval_batch_size)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _Watcher(TrainerCallback):  # type: ignore[misc]
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._held_out: float | None = None
        self._start = time.perf_counter()
        self.trainer: _AdapterTrainer | None = None

    def _tell(self, state: Any) -> None:
        assert self.trainer is not None
        rate = self.trainer.tokens_read / max(time.perf_counter() - self._start, 1e-9)
        step = Step("training", state.global_step, state.max_steps, self.trainer.running_loss, self._held_out, rate)
        self._progress.step(step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._tell(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        self._held_out = metrics["eval_loss"]
        self._tell(state)


def run(
    model: Any,
    recipe: Recipe,
    training: Sequence[Row],
    held_out: Sequence[Row],
    work: Path,
    progress: Progress,
    dtype: str,
) -> dict[str, float]:
    """Train `model` in place and leave it at its best held-out epoch → epochs run and tokens read.

    `work` takes checkpoints and may be deleted afterwards. `dtype` "auto" computes in bfloat16 where a probe finds that
    faster; weights stay in float32. The same recipe, rows, seed, dtype and thread count give the same weights.
    """
    watcher = _Watcher(progress)
    trainer = _AdapterTrainer(
        held_out,
        model=model,
        args=_arguments(recipe, work, choose_dtype(dtype, choose_device())[0]),
        data_collator=collate,
        train_dataset=[features(row) for row in training],
        eval_dataset=[features(row) for row in held_out],
        callbacks=[EarlyStoppingCallback(recipe.patience), watcher],
    )
    watcher.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    # Mixed precision wraps the model's forward and leaves it so; what is measured afterwards is measured as served.
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    return {"epochs": float(trainer.state.epoch or 0), "tokens": float(trainer.tokens_read)}


def _arguments(recipe: Recipe, work: Path, dtype: torch.dtype) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(work),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        train_sampling_strategy="group_by_length",
        use_cpu=not torch.cuda.is_available(),
        bf16=dtype == torch.bfloat16,
        seed=recipe.seed,
        data_seed=recipe.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        save_only_model=True,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
