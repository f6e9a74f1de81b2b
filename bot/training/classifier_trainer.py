"""The Hugging Face Trainer on a classifier: cross-entropy over labels, measured on held-out messages after every epoch.

Rows of one batch are alike in length. The best epoch by held-out loss is kept. Knows nothing of files but its own work
folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed

from bot.runs.progress import Progress
from bot.training.heads import Backbone
from bot.training.labelled import Labelled
from bot.training.recipe import Recipe
from bot.training.watched import WatchedTrainer, Watcher

_EVALUATION_BATCH = 64


@dataclass(frozen=True, slots=True)
class Item:
    """A message's ids and the place of its label."""

    ids: list[int]
    label: int


def items_of(backbone: Backbone, rows: Sequence[Labelled], labels: Sequence[str]) -> list[Item]:
    """As that backbone reads them."""
    ids = backbone.ids([row.text for row in rows])
    return [Item(found, labels.index(row.label)) for found, row in zip(ids, rows, strict=True)]


def collate(items: Sequence[Item], pad: int) -> dict[str, Tensor]:
    """Right-padded int64 tensors: input_ids and attention_mask of shape (rows, longest), labels of shape (rows)."""
    longest = max(len(item.ids) for item in items)
    return {
        "input_ids": torch.tensor([item.ids + [pad] * (longest - len(item.ids)) for item in items]),
        "attention_mask": torch.tensor([[1] * len(item.ids) + [0] * (longest - len(item.ids)) for item in items]),
        "labels": torch.tensor([item.label for item in items]),
    }


def batches(items: Sequence[Item], pad: int) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Every item once, alike in length together → their places, and the batch."""
    ordered = sorted(range(len(items)), key=lambda place: len(items[place].ids))
    for start in range(0, len(ordered), _EVALUATION_BATCH):
        places = ordered[start : start + _EVALUATION_BATCH]
        yield places, collate([items[place] for place in places], pad)


@torch.no_grad()
def predict(backbone: Backbone, items: Sequence[Item]) -> np.ndarray:
    """Float32 logits (items, labels), in evaluation mode."""
    model = backbone.model
    was_training = model.training
    model.eval()
    found: list[Tensor] = [torch.empty(0)] * len(items)
    for places, batch in batches(items, backbone.pad):
        for place, row in zip(places, _logits(model, batch).float().cpu(), strict=True):
            found[place] = row
    model.train(was_training)
    return torch.stack(found).numpy()


def _logits(model: Any, batch: dict[str, Tensor]) -> Tensor:
    device = next(model.parameters()).device
    out = model(**{key: value.to(device) for key, value in batch.items() if key != "labels"})
    logits: Tensor = getattr(out, "logits", out)
    return logits


class _ClassifierTrainer(WatchedTrainer):
    control: Any
    optimizer: Any

    def __init__(self, backbone: Backbone, recipe: Recipe, held_out: Sequence[Item], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._backbone, self._recipe, self._held_out = backbone, recipe, held_out

    def create_optimizer(self, model: Any = None) -> Any:
        if self.optimizer is None:
            groups = self._backbone.groups(self._recipe.learning_rate, self._recipe.weight_decay)
            self.optimizer = torch.optim.AdamW(groups)
        return self.optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], *_: Any, **__: Any) -> Tensor:
        logits = _logits(model, inputs).float()
        loss = torch.nn.functional.cross_entropy(
            logits, inputs["labels"].to(logits.device), label_smoothing=self._recipe.label_smoothing
        )
        self.keep_loss(float(loss.detach()))
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        logits = torch.tensor(predict(self._backbone, self._held_out))
        wanted = torch.tensor([item.label for item in self._held_out])
        metrics = {"eval_loss": float(torch.nn.functional.cross_entropy(logits, wanted))}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _Thawing(Watcher):
    """Thaws layers as epochs begin."""

    def __init__(self, backbone: Backbone, progress: Progress) -> None:
        super().__init__(progress)
        self._backbone = backbone

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._backbone.thaw(round(state.epoch or 0))


def run(
    backbone: Backbone, recipe: Recipe, training: Sequence[Item], held_out: Sequence[Item], work: Path, progress: Progress
) -> dict[str, float]:
    """Train the backbone's model in place and leave it at its best held-out epoch → epochs run and tokens read.

    `work` takes checkpoints and may be deleted afterwards. The same recipe, rows, seed and thread count give the same
    weights.
    """
    set_seed(recipe.seed)
    backbone.begin((batch for _, batch in batches(training, backbone.pad)))
    # Before the Trainer looks for something to train.
    backbone.thaw(0)
    watcher = _Thawing(backbone, progress)
    trainer = _ClassifierTrainer(
        backbone,
        recipe,
        held_out,
        model=backbone.model,
        args=_arguments(recipe, work),
        data_collator=_collator(backbone.pad),
        train_dataset=[{"input_ids": item.ids, "label": item.label} for item in training],
        eval_dataset=[{"input_ids": item.ids, "label": item.label} for item in held_out],
        callbacks=[EarlyStoppingCallback(recipe.patience), watcher],
    )
    watcher.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    backbone.model.cpu()
    return {"epochs": float(trainer.state.epoch or 0), "tokens": float(trainer.state.num_input_tokens_seen)}


def _collator(pad: int) -> Callable[[list[dict[str, Any]]], dict[str, Tensor]]:
    return lambda rows: collate([Item(row["input_ids"], row["label"]) for row in rows], pad)


def _arguments(recipe: Recipe, work: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(work),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup,
        train_sampling_strategy="group_by_length",
        use_cpu=not torch.cuda.is_available(),
        seed=recipe.seed,
        data_seed=recipe.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        save_only_model=True,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        include_num_input_tokens_seen="non_padding",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
