"""The Hugging Face Trainer on an adapter: measured on held-out rows while it trains, stopped early, saved so that a run goes
on after whatever ended it, over one process or several.

Held-out loss is a mean over tokens, not over batches, for base and adapter alike.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from bot.engine.local.model import DTYPES, choose_device
from bot.errors import DataError, TrainingError
from bot.runs.progress import Progress
from bot.training.checkpoints import keep_only, newest, seal
from bot.training.dataset import Row
from bot.training.loss import collate, features, held_out_loss, supervised_loss
from bot.training.processes import is_main, process_count, shared
from bot.training.recipe import Recipe
from bot.training.watched import WatchedTrainer, Watcher


class _ByLength(torch.utils.data.Sampler[int]):
    """Rows of like length side by side, in an order that depends on seed and epoch alone: a run that goes on within an
    epoch finds the same one."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = list(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(self._seed + self._epoch * 2**32)
        return iter(get_length_grouped_indices(self._lengths, self._batch_size, generator=chance))


class _AdapterTrainer(WatchedTrainer):
    """Seals its checkpoints."""

    control: Any

    def __init__(self, held_out: Sequence[Row], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._held_out = held_out
        # Has the Trainer count the supervised tokens of a step over all processes, and leave their mean to compute_loss.
        self.model_accepts_loss_kwargs = True

    def _get_train_sampler(self, train_dataset: Any = None) -> _ByLength:
        lengths = [len(row["input_ids"]) for row in self.train_dataset]
        return _ByLength(lengths, self.args.train_batch_size * self.args.world_size, self.args.seed)

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], *_: Any, num_items_in_batch: Any = None, **__: Any
    ) -> torch.Tensor:
        total, tokens = supervised_loss(model, inputs)
        self.keep_loss(float(total.detach()) / tokens)
        # Gradients are averaged over processes, so each one's part of the mean counts as many times.
        loss: torch.Tensor = total / num_items_in_batch * self.accelerator.num_processes
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The Trainer's own averages over batches; this one averages over tokens."""
        metrics = {"eval_loss": held_out_loss(self.model, self._held_out, self.args.per_device_eval_batch_size)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        root = Path(self.args.output_dir)
        folder = root / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                seal(folder, last=self.control.should_training_stop)
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise TrainingError(
                f"{folder.name} could not be written: {str(error).splitlines()[0]}.", "Make room, then go on with --resume."
            ) from None
        if self.args.should_save:
            keep_only(root, [folder, Path(self.state.best_model_checkpoint or folder)])


def run(
    model: Any,
    recipe: Recipe,
    training: Sequence[Row],
    held_out: Sequence[Row],
    work: Path,
    progress: Progress,
    dtype: str,
) -> dict[str, float]:
    """Train `model` in place and leave it at its best held-out loss → epochs run and tokens read.

    `work` takes checkpoints; where it holds a complete one, training goes on from there. `dtype`, float32 or bfloat16, is
    what is computed in; weights stay in float32. The same recipe, rows, seed, dtype and number of threads and processes give
    the same weights, however often the run was broken off.
    """
    with _quiet_resuming():
        watcher = Watcher(progress)
        trainer = _AdapterTrainer(
            held_out,
            model=model,
            args=_arguments(recipe, len(training), work, DTYPES[dtype]),
            data_collator=collate,
            train_dataset=[features(row) for row in training],
            eval_dataset=[features(row) for row in held_out],
            callbacks=[EarlyStoppingCallback(recipe.patience), watcher],
        )
        watcher.trainer = trainer
        trainer.remove_callback(PrinterCallback)
        checkpoint = shared(newest(work) if is_main() else None)
        if checkpoint and checkpoint.last:
            state = _load_best(trainer, work, checkpoint.path)
        else:
            trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
            state = trainer.state
    # Mixed precision wraps the model's forward and leaves it so; what is measured afterwards is measured as served.
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    return {"epochs": round(float(state.epoch or 0), 3), "tokens": float(state.num_input_tokens_seen)}


def _load_best(trainer: _AdapterTrainer, work: Path, last: Path) -> Any:
    """Of a run that had ended its training: put its best weights into the model → its state at the end."""
    from transformers import TrainerState

    state = TrainerState.load_from_json(str(last / "trainer_state.json"))
    trainer.state.best_model_checkpoint = str(work / Path(state.best_model_checkpoint or last).name)
    trainer._load_best_model()
    return state


@contextmanager
def _quiet_resuming() -> Iterator[None]:
    """Without transformers' remarks on weights that a checkpoint of an adapter does not hold."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _arguments(recipe: Recipe, rows: int, work: Path, dtype: torch.dtype) -> TrainingArguments:
    processes = process_count()
    if recipe.batch_size % processes:
        raise DataError(
            f"batch_size is {recipe.batch_size}, which {processes} processes cannot share alike.", "Take a multiple of them."
        )
    steps = max(1, math.ceil(math.ceil(rows / recipe.batch_size) / recipe.evaluations))
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size // processes,
        per_device_eval_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        use_cpu=choose_device().type == "cpu",
        bf16=dtype == torch.bfloat16,
        seed=recipe.seed,
        eval_strategy="steps",
        eval_steps=steps,
        save_strategy="steps",
        save_steps=steps,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        include_num_input_tokens_seen="non_padding",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        # Of two forward passes in one process and one in another, no buffers may be told.
        ddp_broadcast_buffers=False,
        restore_callback_states_from_checkpoint=True,
    )
    # Without a launcher one GPU is used; transformers would copy the model to all of them and cut batches up.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments
