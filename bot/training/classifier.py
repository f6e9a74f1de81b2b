"""The order of a classifier's run: labelled messages, training, the gate, and only then a version.

`bot train` comes here for `method: classifier`. A run that fails leaves nothing behind.
"""

from __future__ import annotations

import datetime
import math
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from bot.adapters.card import Card
from bot.base import Base
from bot.errors import DataError, TrainingError
from bot.runs.progress import Progress, Step
from bot.training.classifier_card import TrainedClassifier, classifier_card, label_table
from bot.training.facts import public_name
from bot.training.labelled import Labelled, LabelledRows, Parts, parts_of, read_labelled
from bot.training.recipe import Recipe
from bot.training.rooms import Rooms
from bot.training.scores import Scores, best_temperature, by_words, judge, loss, majority
from bot.training.version import publish

MARGIN = 0.05
"""How far macro-F1 must be above that of whoever always gives the most frequent label."""


def train_classifier(name: str, recipe_path: Path, recipe: Recipe, desk: Rooms, progress: Progress) -> TrainedClassifier:
    """The next version of the classifier `name`. Raises DataError for messages that cannot be used, TrainingError for a
    result that is not finite or tells labels apart hardly better than by always giving the most frequent one."""
    started = time.perf_counter()
    base = desk.encoder if recipe.backbone == "encoder" else desk.base
    read = read_labelled(recipe_path.parent / recipe.data, recipe.task, recipe.scrub)
    parts = parts_of(read.rows, recipe.held_out)
    for remark in (*map(str, read.bad), *parts.remarks):
        progress.note(remark)

    # After what is quickly checked: torch takes seconds to import.
    import torch
    from transformers import logging

    from bot.training.classifier_trainer import Item, predict, run
    from bot.training.heads import Backbone, OnBase, OnEncoder

    logging.disable_progress_bar()
    if desk.settings.threads:
        torch.set_num_threads(desk.settings.threads)
    torch.manual_seed(recipe.seed)
    backbone: Backbone = (OnEncoder if recipe.backbone == "encoder" else OnBase)(base, recipe, len(parts.labels))
    places = {label: place for place, label in enumerate(parts.labels)}

    def items(rows: tuple[Labelled, ...]) -> list[Item]:
        ids = backbone.ids([row.text for row in rows])
        progress.step(Step("reading", len(rows), len(rows)))
        return [Item(found, places[row.label]) for found, row in zip(ids, rows, strict=True)]

    training, held_out = items(parts.training), items(parts.held_out)
    _check_length(recipe, max(len(item.ids) for item in (*training, *held_out)))
    work = desk.settings.var / "training"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix=f"{name}-") as folder:
        ran = run(backbone, recipe, training, held_out, Path(folder), progress)
    logits, wanted = predict(backbone, held_out), np.array([item.label for item in held_out])
    check_finite(loss(logits, wanted))
    temperature = best_temperature(logits, wanted)
    backbone.finish(temperature)
    # Once more: what is measured is what is saved and served.
    logits = predict(backbone, held_out)
    scores = judge([parts.labels[place] for place in logits.argmax(1)], [row.label for row in parts.held_out])
    metrics = _metrics(scores, loss(logits, wanted), temperature, read, parts) | ran
    check_tells_apart(scores.macro_f1, metrics["majority_macro_f1"])
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    draft = _draft(name, base, recipe, read, parts, metrics)
    table = label_table(parts, scores)
    adapter, card = publish(
        desk.settings.workspace / "adapters" / name,
        desk.base,
        draft,
        backbone.save,
        lambda card: classifier_card(card, table, scores.confusions),
        desk.encoder,
    )
    return TrainedClassifier(adapter, card, (), read.bad, table, scores.confusions)


def check_finite(value: float) -> None:
    if not math.isfinite(value):
        raise TrainingError(f"The classifier's held-out loss is {value}.", "Train with a lower learning_rate.")


def check_tells_apart(macro_f1: float, majority_macro_f1: float) -> None:
    """The gate. Raises TrainingError unless the classifier is better than always giving the most frequent label."""
    if not macro_f1 >= majority_macro_f1 + MARGIN:
        raise TrainingError(
            f"The classifier hardly tells its labels apart: held-out macro-F1 {macro_f1:.3f}, where always giving the most"
            f" frequent label has {majority_macro_f1:.3f}; {MARGIN:g} more is asked. No version was made.",
            "Check the labels, add messages of the rare ones, or change learning_rate or epochs.",
        )


def _check_length(recipe: Recipe, longest: int) -> None:
    if longest > recipe.max_tokens:
        raise DataError(f"The longest message has {longest:,} tokens; max_tokens is {recipe.max_tokens:,}.", "Raise it.")


def _metrics(scores: Scores, held_out_loss: float, temperature: float, read: LabelledRows, parts: Parts) -> dict[str, float]:
    wanted = [row.label for row in parts.held_out]
    frequent = majority([row.label for row in parts.training], wanted)
    words = by_words([(row.text, row.label) for row in parts.training], [row.text for row in parts.held_out], wanted)
    figures: dict[str, float] = {"held_out_accuracy": scores.accuracy, "held_out_macro_f1": scores.macro_f1}
    figures |= {"majority_accuracy": frequent.accuracy, "majority_macro_f1": frequent.macro_f1}
    figures |= {"words_accuracy": words.accuracy, "words_macro_f1": words.macro_f1}
    figures |= {"held_out_loss": held_out_loss, "temperature": temperature}
    counts: Counter[str] = Counter(
        training_rows=len(parts.training),
        held_out_rows=len(parts.held_out),
        training_conversations=len({row.conversation for row in parts.training}),
        held_out_conversations=len({row.conversation for row in parts.held_out}),
        unlabelled_rows=read.unlabelled,
        bad_rows=len(read.bad),
    )
    return {key: round(value, 6) for key, value in figures.items()} | {key: float(count) for key, count in counts.items()}


def _draft(name: str, base: Base, recipe: Recipe, read: LabelledRows, parts: Parts, metrics: dict[str, float]) -> Card:
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
        intended_use=recipe.intended_use or f"Gives customers' messages a label of {recipe.task}, each read alone.",
        limits=recipe.limits or f"It learned {len(parts.labels)} labels from {len(parts.training)} messages of one domain.",
    )
