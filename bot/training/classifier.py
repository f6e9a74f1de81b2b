"""The order of a classifier's run: labelled messages, training, the gates, and only then a version.

`bot train` comes here for `method: classifier`. A run that fails leaves nothing behind.
"""

from __future__ import annotations

import datetime
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bot.adapters.card import Card, Gate
from bot.base import Base
from bot.errors import DataError
from bot.runs.progress import Progress, Quiet, Step
from bot.training import gates
from bot.training.classifier_card import TrainedClassifier, classifier_card, label_table
from bot.training.facts import public_name
from bot.training.labelled import LabelledRows, Parts, parts_of, read_labelled
from bot.training.overlap import overlapping
from bot.training.paired import RowLoss, mean_loss
from bot.training.predecessor import predecessor
from bot.training.recipe import Recipe
from bot.training.reseeds import SPREAD, spread_of
from bot.training.rooms import Rooms
from bot.training.scores import Scores, best_temperature, by_words, judge, losses, majority
from bot.training.version import publish

if TYPE_CHECKING:
    from bot.training.heads import Backbone


@dataclass(frozen=True)
class _Fitted:
    """A classifier as it is saved and served, what it costs and gives on the held-out messages, and what its run took."""

    backbone: Backbone
    logits: np.ndarray
    losses: list[RowLoss]
    metrics: dict[str, float]


def train_classifier(name: str, recipe_path: Path, recipe: Recipe, desk: Rooms, progress: Progress) -> TrainedClassifier:
    """The next version of the classifier `name`. Raises DataError for messages that cannot be used, Refused for a result
    that does not pass every gate."""
    started = time.perf_counter()
    base = desk.encoder if recipe.backbone == "encoder" else desk.base
    read = read_labelled(recipe_path.parent / recipe.data, recipe.task, recipe.scrub)
    parts = parts_of(read.rows, recipe.held_out)
    for remark in (*map(str, read.bad), *parts.remarks):
        progress.note(remark)

    # After what is quickly checked: torch takes seconds to import.
    from transformers import logging

    from bot.cores import compute_here
    from bot.training.judge import measure_finite

    logging.disable_progress_bar()
    compute_here(desk.settings.threads)
    work = desk.settings.var / "training"
    work.mkdir(parents=True, exist_ok=True)
    fitted = _fit(base, recipe, parts, work, progress)
    finite = measure_finite(fitted.backbone.trained())
    # Told alone, since nothing else means anything where it fails.
    gates.refuse_failed([finite])
    scores = judge([parts.labels[place] for place in fitted.logits.argmax(1)], [row.label for row in parts.held_out])
    metrics = _metrics(scores, read, parts) | fitted.metrics
    spread = spread_of(
        recipe,
        lambda: mean_loss(fitted.losses),
        lambda reseeded: mean_loss(_fit(base, reseeded, parts, work, Quiet()).losses),
        progress,
    )
    passed = [
        finite,
        gates.gain_gate(scores.macro_f1, metrics["majority_macro_f1"]),
        _overlap(parts),
        *_successor(name, parts, fitted.losses, spread, desk, progress),
    ]
    gates.refuse_failed(passed)
    if spread is not None:
        metrics[SPREAD] = round(spread, 6)
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    table = label_table(parts, scores)
    adapter, card = publish(
        desk.settings.workspace / "adapters" / name,
        desk.base,
        _draft(name, base, recipe, read, parts, metrics, passed),
        fitted.backbone.save,
        lambda card: classifier_card(card, table, scores.confusions),
        desk.encoder,
    )
    return TrainedClassifier(adapter, card, (), read.bad, table, scores.confusions)


def _fit(base: Base, recipe: Recipe, parts: Parts, work: Path, progress: Progress) -> _Fitted:
    import torch

    from bot.training.classifier_trainer import items_of, predict, run
    from bot.training.heads import fresh

    torch.manual_seed(recipe.seed)
    backbone = fresh(base, recipe, len(parts.labels))
    training, held_out = (items_of(backbone, part, parts.labels) for part in (parts.training, parts.held_out))
    count = len(training) + len(held_out)
    progress.step(Step("reading", count, count))
    _check_length(recipe, max(len(item.ids) for item in (*training, *held_out)))
    with tempfile.TemporaryDirectory(dir=work) as folder:
        ran = run(backbone, recipe, training, held_out, Path(folder), progress)
    temperature = best_temperature(predict(backbone, held_out), _wanted(parts))
    backbone.finish(temperature)
    # Once more: what is measured is what is saved and served.
    logits = predict(backbone, held_out)
    held_out_losses = _row_losses(logits, parts)
    metrics = {"held_out_loss": round(mean_loss(held_out_losses), 6), "temperature": round(temperature, 6), **ran}
    return _Fitted(backbone, logits, held_out_losses, metrics)


def _overlap(parts: Parts) -> Gate:
    held_out, training = ([row.text for row in part] for part in (parts.held_out, parts.training))
    return gates.overlap_gate(len(overlapping(held_out, training)), len(held_out))


def _successor(
    name: str, parts: Parts, new: list[RowLoss], spread: float | None, desk: Rooms, progress: Progress
) -> list[Gate]:
    """The gate against the newest version that gives the same labels, if any, on whatever it stands."""
    from bot.training.classifier_trainer import items_of, predict
    from bot.training.heads import saved

    found = predecessor(desk.adapters, name, lambda card: card.labels == parts.labels, progress)
    if not found:
        return []
    adapter, card = found
    old = saved(desk.encoder if adapter.encoder else desk.base, adapter)
    before = _row_losses(predict(old, items_of(old, parts.held_out, parts.labels)), parts)
    spread = spread if spread is not None else card.metrics.get(SPREAD)
    return [gates.successor_gate(new, before, spread, adapter.ref, "message")]


def _wanted(parts: Parts) -> np.ndarray:
    """Places of the held-out messages' labels."""
    return np.array([parts.labels.index(row.label) for row in parts.held_out])


def _row_losses(logits: np.ndarray, parts: Parts) -> list[RowLoss]:
    nats = losses(logits, _wanted(parts))
    return [RowLoss(row.conversation, float(own), 1) for row, own in zip(parts.held_out, nats, strict=True)]


def _check_length(recipe: Recipe, longest: int) -> None:
    if longest > recipe.max_tokens:
        raise DataError(f"The longest message has {longest:,} tokens; max_tokens is {recipe.max_tokens:,}.", "Raise it.")


def _metrics(scores: Scores, read: LabelledRows, parts: Parts) -> dict[str, float]:
    wanted = [row.label for row in parts.held_out]
    frequent = majority([row.label for row in parts.training], wanted)
    words = by_words([(row.text, row.label) for row in parts.training], [row.text for row in parts.held_out], wanted)
    figures: dict[str, float] = {"held_out_accuracy": scores.accuracy, "held_out_macro_f1": scores.macro_f1}
    figures |= {"majority_accuracy": frequent.accuracy, "majority_macro_f1": frequent.macro_f1}
    figures |= {"words_accuracy": words.accuracy, "words_macro_f1": words.macro_f1}
    counts: Counter[str] = Counter(
        training_rows=len(parts.training),
        held_out_rows=len(parts.held_out),
        training_conversations=len({row.conversation for row in parts.training}),
        held_out_conversations=len({row.conversation for row in parts.held_out}),
        unlabelled_rows=read.unlabelled,
        bad_rows=len(read.bad),
    )
    return {key: round(value, 6) for key, value in figures.items()} | {key: float(count) for key, count in counts.items()}


def _draft(
    name: str,
    base: Base,
    recipe: Recipe,
    read: LabelledRows,
    parts: Parts,
    metrics: dict[str, float],
    passed: Sequence[Gate],
) -> Card:
    """The card but for version and files. Base and hashes are those of what the classifier stands on."""
    return Card(
        name=name,
        version=0,
        method="classifier",
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        base=public_name(base),
        base_hash=base.hash,
        tokenizer_hash=base.tokenizer_hash,
        template_hash=base.template_hash,
        prompt="",
        prompt_hash="",
        knowledge="",
        data={f"{recipe.data}/{file}": sha256 for file, sha256 in read.files.items()},
        recipe=recipe.used(),
        seed=recipe.seed,
        metrics=metrics,
        files={},
        labels=parts.labels,
        gates=tuple(passed),
        intended_use=recipe.intended_use or f"Gives customers' messages a label of {recipe.task}, each read alone.",
        limits=recipe.limits or f"It learned {len(parts.labels)} labels from {len(parts.training)} messages of one domain.",
    )
