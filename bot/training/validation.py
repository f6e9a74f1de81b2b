"""What a recipe is worth before a version is made of it: cross-validation, and a search for better settings.

Both go by whole conversations and publish nothing. A search never looks at the recipe's held-out part, which judges the
version that is made afterwards.
"""

from __future__ import annotations

import dataclasses
import hashlib
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import DataError, TrainingError
from bot.runs.progress import Progress, Quiet, Step
from bot.training.prepared import Prepared, plan, prepare
from bot.training.processes import process_count
from bot.training.recipe import Recipe
from bot.training.rooms import Rooms

if TYPE_CHECKING:
    from bot.training.dataset import Row

_FOLD = 5
"""In a search one part in five of the training rows judges."""


def cross_validate(
    path: Path, desk: Rooms, folds: int, overrides: Sequence[str], progress: Progress
) -> list[dict[str, Any]]:
    """A row for each fold, with held-out loss in nats a token, and one for all: mean and standard deviation.

    Raises DataError for a single fold, or fewer conversations than folds.
    """
    if folds < 2:
        raise DataError(f"{folds} fold leaves nothing to train on.", "Take two or more.")
    prepared = _unaugmented(path, desk, overrides, progress)
    rows = [*prepared.material.training, *prepared.material.held_out]
    found: list[dict[str, Any]] = []
    for number in range(folds):
        held_out = [row for row in rows if _part(row.conversation, folds) == number]
        training = [row for row in rows if _part(row.conversation, folds) != number]
        if not held_out or not training:
            raise DataError(f"{folds} folds of these conversations leave one empty.", "Take fewer folds.")
        progress.step(Step("folds", number, folds))
        base, adapter = _measured(prepared.plan.recipe, desk, training, held_out)
        told = {"conversations": len({row.conversation for row in held_out}), "base": base, "adapter": adapter}
        found.append({"fold": str(number + 1), **told, "difference": adapter - base})
    progress.step(Step("folds", folds, folds))
    keys = ("base", "adapter", "difference")
    rounded = [row | {key: round(row[key], 4) for key in keys} for row in found]
    means = {key: round(statistics.mean(row[key] for row in found), 4) for key in keys}
    spreads = {key: round(statistics.stdev(row[key] for row in found), 4) for key in keys}
    count = sum(row["conversations"] for row in found)
    return [*rounded, {"fold": "mean", "conversations": count, **means}, {"fold": "sd", "conversations": "", **spreads}]


def search_settings(
    path: Path, desk: Rooms, trials: int, overrides: Sequence[str], progress: Progress
) -> list[dict[str, Any]]:
    """Every trial with its settings and loss, best first; `set` is what to give `bot train` for it.

    The first trial is the recipe as it stands. The same seed proposes the same trials.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    prepared = _unaugmented(path, desk, overrides, progress)
    rows = prepared.material.training
    held_out = [row for row in rows if _part(f"search {row.conversation}", _FOLD) == 0]
    training = [row for row in rows if _part(f"search {row.conversation}", _FOLD) != 0]
    if not held_out or not training:
        raise DataError(f"{len(rows)} training rows are too few to search with.", "Add transcripts.")
    recipe = prepared.plan.recipe
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=recipe.seed))
    study.enqueue_trial(_settings(recipe))

    def loss(trial: Any) -> float:
        progress.step(Step("trials", trial.number, trials))
        tried = recipe.model_copy(update=_proposed(trial, recipe))
        return _measured(tried, desk, training, held_out)[1]

    study.optimize(loss, n_trials=trials, catch=(TrainingError,))
    progress.step(Step("trials", trials, trials))
    finished = sorted(
        (trial for trial in study.trials if trial.value is not None), key=lambda trial: float(trial.value or 0)
    )
    return [
        {
            "trial": str(trial.number + 1) + (" (the recipe)" if trial.number == 0 else ""),
            "held_out_loss": round(float(trial.value or 0), 4),
            "set": " ".join(f"--set {key}={value:.4g}" for key, value in _shown(trial.params, recipe).items()),
        }
        for trial in finished
    ]


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Those of the recipe that a search changes."""
    if recipe.method == "soft-prompt":
        return {"learning_rate": recipe.learning_rate, "virtual_tokens": recipe.virtual_tokens}
    return {"learning_rate": recipe.learning_rate, "rank": recipe.rank, "dropout": recipe.dropout}


def _proposed(trial: Any, recipe: Recipe) -> dict[str, Any]:
    rate = recipe.learning_rate
    values = {"learning_rate": trial.suggest_float("learning_rate", rate / 5, min(1.0, rate * 5), log=True)}
    if recipe.method == "soft-prompt":
        tokens = recipe.virtual_tokens
        return {**values, "virtual_tokens": trial.suggest_int("virtual_tokens", max(1, tokens // 4), tokens * 2)}
    rank = trial.suggest_int("rank", max(1, recipe.rank // 4), min(512, recipe.rank * 4), log=True)
    return {**values, "rank": rank, "dropout": trial.suggest_float("dropout", 0.0, max(0.2, recipe.dropout))} | _alpha(
        rank, recipe
    )


def _alpha(rank: int, recipe: Recipe) -> dict[str, int]:
    """The strength alpha / rank stays what it is, so that the rank alone is tried."""
    return {"alpha": max(1, round(recipe.alpha * rank / recipe.rank))}


def _shown(parameters: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    return parameters | (_alpha(parameters["rank"], recipe) if "rank" in parameters else {})


def _unaugmented(path: Path, desk: Rooms, overrides: Sequence[str], progress: Progress) -> Prepared:
    """Copies of a conversation would stand on both sides of a fold."""
    if process_count() > 1:
        raise DataError(f"{process_count()} processes cannot share folds or trials.", "Start it in one.")
    planned = plan(path, desk, overrides)
    bare = planned.recipe.model_copy(update={"augment": 0, "canaries": 0})
    return prepare(dataclasses.replace(planned, recipe=bare), desk, progress)


def _part(conversation: str, parts: int) -> int:
    """Not the hash that holds out: that one would put all held-out conversations in the same parts."""
    return int(hashlib.sha256(f"part of {conversation}".encode()).hexdigest()[:8], 16) % parts


def _measured(recipe: Recipe, desk: Rooms, training: list[Row], held_out: list[Row]) -> tuple[float, float]:
    """Held-out loss of base and adapter."""
    from bot.engine.local.model import choose_device, choose_dtype
    from bot.training import adapter as adapters
    from bot.training import trainer
    from bot.training.loss import held_out_loss

    model = adapters.attach(desk.base, recipe)
    dtype = str(choose_dtype(desk.settings.dtype, choose_device())[0]).removeprefix("torch.")
    desk.settings.var.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=desk.settings.var) as work:
        trainer.run(model, recipe, training, held_out, Path(work), Quiet(), dtype)
    after = held_out_loss(model, held_out, recipe.batch_size)
    with model.disable_adapter():
        return held_out_loss(model, held_out, recipe.batch_size), after
