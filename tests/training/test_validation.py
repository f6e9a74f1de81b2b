"""Folds and searches measure, and make nothing."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from bot.desk import Desk
from bot.errors import DataError
from bot.runs.progress import Quiet
from bot.training.validation import cross_validate, search_settings


def nothing_made(recipe: Path) -> bool:
    return sorted(path.name for path in recipe.parent.iterdir()) == ["recipe.yaml", "transcripts"]


def test_every_conversation_judges_once(recipe: Path, desk: Desk) -> None:
    *folds, mean, spread = cross_validate(recipe, desk, 3, ["epochs=1"], Quiet())
    assert [row["fold"] for row in folds] == ["1", "2", "3"]
    assert sum(row["conversations"] for row in folds) == mean["conversations"] == 24
    differences = [row["difference"] for row in folds]
    assert all(difference < 0 for difference in differences)
    assert mean["difference"] == pytest.approx(statistics.mean(differences), abs=1e-4)
    assert spread["difference"] == pytest.approx(statistics.stdev(differences), abs=1e-4)
    assert nothing_made(recipe)
    assert not list(desk.settings.var.glob("tmp*"))


def test_folds_that_leave_nothing_are_refused(recipe: Path, desk: Desk) -> None:
    for folds, says in ((1, "nothing to train on"), (200, "leave one empty")):
        with pytest.raises(DataError, match=says):
            cross_validate(recipe, desk, folds, ["epochs=1"], Quiet())


def test_a_search_tries_the_recipe_first_and_shows_every_trial_best_first(recipe: Path, desk: Desk) -> None:
    trials = search_settings(recipe, desk, 3, ["epochs=1"], Quiet())
    assert sorted(row["trial"] for row in trials) == ["1 (the recipe)", "2", "3"]
    losses = [row["held_out_loss"] for row in trials]
    assert losses == sorted(losses)
    assert len(set(losses)) == 3
    own = next(row for row in trials if "recipe" in row["trial"])
    assert own["set"] == "--set learning_rate=0.02 --set rank=4 --set dropout=0.05 --set alpha=8"
    assert nothing_made(recipe)
    assert search_settings(recipe, desk, 2, ["epochs=1"], Quiet()) == [row for row in trials if row["trial"] != "3"]
