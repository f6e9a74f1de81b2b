"""A learning curve on a tiny base: against the prompt, broken off and gone on with, and with other inputs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from bot.base import Base
from bot.desk import Desk
from bot.errors import DataError
from bot.evaluation.arms import Parts, all_arms
from bot.evaluation.beats import Scores
from bot.evaluation.curve import Opponent, best_prompt, learning_curve
from bot.evaluation.curve_points import INNER, STAGE, Further, Point
from bot.evaluation.measured import REFERENCE_COST, Measured
from bot.evaluation.results import Curve
from bot.runs.progress import Quiet, Step
from bot.training import subset
from bot.training.prepared import plan
from bot.training.split import is_held_out
from bot.types import Adapter
from tests.conftest import Ear
from tests.training.conftest import open_desk, write_workspace

SIZES, DRAWS = [3, 6], 2


@dataclass(frozen=True)
class Whole:
    curve: Curve
    recipe: Path
    folder: Path
    ear: Ear


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_workspace(tmp_path / "workspace")


@pytest.fixture
async def desk(recipe: Path, tiny_base: Base) -> AsyncIterator[Desk]:
    made = open_desk(recipe, tiny_base)
    yield made
    await made.close()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[subset.Subset]:
    """Every training that ran, in order."""
    ran: list[subset.Subset] = []
    train = subset.trained

    def counted(one: subset.Subset, *rest: Any) -> Any:
        ran.append(one)
        return train(one, *rest)

    monkeypatch.setattr(subset, "trained", counted)
    return ran


def drawn(
    recipe: Path, desk: Desk, folder: Path, ear: Any = None, sets: Sequence[str] = ("epochs=1",), **more: Any
) -> Curve:
    return learning_curve(plan(recipe, desk, sets), folder, desk, ear or Quiet(), **{"sizes": SIZES, "draws": DRAWS} | more)


def without_seconds(curve: Curve) -> list[Any]:
    return [(point.transcripts, point.draw, point.figures) for point in curve.points]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_base: Base) -> Iterator[Whole]:
    """A whole curve that nobody changes; its points are those of every workspace that is written alike."""
    recipe = write_workspace(tmp_path_factory.mktemp("whole") / "workspace")
    desk, ear, folder = open_desk(recipe, tiny_base), Ear(), tmp_path_factory.mktemp("points")
    yield Whole(drawn(recipe, desk, folder, ear), recipe, folder, ear)
    asyncio.run(desk.close())


@pytest.fixture
def folder(whole: Whole, tmp_path: Path) -> Path:
    """Its points, to be changed."""
    return Path(shutil.copytree(whole.folder, tmp_path / "points"))


def test_a_curve(whole: Whole) -> None:
    curve, ear = whole.curve, whole.ear
    assert [(point.transcripts, point.draw) for point in curve.points] == [(3, 0), (3, 1), (6, 0), (6, 1)]
    assert (curve.way, curve.prompt_arm) == ("prompt+adapter+knowledge", "zero-shot+knowledge")
    prompt = curve.prompt_figures[REFERENCE_COST]
    # A random base learns from anything.
    assert all(point.figures[REFERENCE_COST] < prompt for point in curve.points)
    assert curve.beats_from == {REFERENCE_COST: 3}
    assert [step.done for step in ear.steps if step.stage == STAGE] == [0, 1, 2, 3, 4]
    assert any(step.stage == INNER and step.loss is not None and step.held_out is None for step in ear.steps)
    assert sum("transcripts, draw" in note for note in ear.notes) == 4
    # Nothing but the points is left, and no version was made.
    assert {path.suffix for path in whole.folder.iterdir()} == {".json"}
    assert sorted(path.name for path in whole.recipe.parent.iterdir()) == ["recipe.yaml", "transcripts"]


def test_the_held_out_conversations_judge(whole: Whole) -> None:
    held_out = {f"r-{number:03}" for number in range(24) if is_held_out(f"r-{number:03}", 0.25)}
    assert all(set(scores.sums) == held_out for scores in _scores(whole.folder))


def _scores(folder: Path) -> list[Scores]:
    points = [Point.model_validate_json(path.read_text()) for path in folder.glob("*.json")]
    return [point.scores[REFERENCE_COST] for point in points]


def test_one_that_was_broken_off_goes_on_with_the_next_point(
    whole: Whole, recipe: Path, desk: Desk, tmp_path: Path, trainings: list[subset.Subset]
) -> None:
    class Cut(Ear):
        def step(self, step: Step) -> None:
            super().step(step)
            if step.stage == INNER and len(trainings) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drawn(recipe, desk, tmp_path / "cut", Cut(), draws=1)
    assert len(trainings) == 2
    trainings.clear()
    ear = Ear()
    again = drawn(recipe, desk, tmp_path / "cut", ear, draws=1)
    assert [(one.draw, one.transcripts) for one in trainings] == [(0, 6)]
    assert without_seconds(again) == [point for point in without_seconds(whole.curve) if point[1] == 0]
    assert again.beats_from == whole.curve.beats_from
    assert "1 of 2 points of the learning curve were done before." in ear.notes


def test_what_is_there_is_not_trained_again_and_a_broken_point_is(
    whole: Whole, recipe: Path, desk: Desk, folder: Path, trainings: list[subset.Subset]
) -> None:
    assert drawn(recipe, desk, folder) == whole.curve
    assert not trainings
    (broken,) = folder.glob("6-1-*.json")
    broken.write_text("{")
    assert without_seconds(drawn(recipe, desk, folder)) == without_seconds(whole.curve)
    assert [(one.draw, one.transcripts) for one in trainings] == [(1, 6)]


def test_what_changed_is_computed_anew(
    whole: Whole, recipe: Path, desk: Desk, folder: Path, trainings: list[subset.Subset]
) -> None:
    other = drawn(recipe, desk, folder, sets=["epochs=1", "learning_rate=0.001"], sizes=[3], draws=1)
    assert len(trainings) == 1
    (point,) = without_seconds(other)
    assert point[:2] == (3, 0)
    assert point not in without_seconds(whole.curve)


def test_further_measures_are_given_the_adapter(recipe: Path, desk: Desk, tmp_path: Path) -> None:
    met: list[str] = []

    def measure(adapter: Adapter) -> list[Measured]:
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(desk.base.path), adapter.path)
        met.append(adapter.hash)
        return [Measured("facts", "share", "higher", ("a", "b"), {"any": (1.0, 0.5)})]

    def once(hash: str) -> Curve:
        planned = plan(recipe, desk, ["epochs=1"])
        return learning_curve(planned, tmp_path / "curve", desk, Quiet(), [3], 1, further=Further(hash, measure))

    curve = once("1")
    assert [point.figures["facts"] for point in curve.points] == [0.75]
    assert set(curve.beats_from) == {REFERENCE_COST}
    once("1")
    assert len(met) == 1
    once("2")
    assert len(met) == 2


def test_the_best_prompt_is_a_prompt_alone_under_which_references_cost_least() -> None:
    costs = {"base": (9.0,), "zero-shot": (3.0,), "few-shot": (2.0,), "chain-of-thought": (None,), "prompt+adapter": (1.0,)}
    measured = [
        Measured(REFERENCE_COST, "nats", "lower", ("a",), costs, (4.0,)),
        Measured("facts", "share", "higher", ("a",), {}),
    ]
    found = best_prompt(measured, all_arms(Parts(), {}))
    assert found == Opponent("few-shot", {REFERENCE_COST: Scores(better="lower", sums={"a": (8.0, 4.0)})})
    assert best_prompt(measured[1:], all_arms(Parts(), {})) is None
    assert best_prompt(measured, []) is None


def test_a_prompt_that_nothing_beats(recipe: Path, desk: Desk, folder: Path, trainings: list[subset.Subset]) -> None:
    sums = {name: (0.0, tokens) for name, (_, tokens) in _scores(folder)[0].sums.items()}
    perfect = Opponent("few-shot", {REFERENCE_COST: Scores(better="lower", sums=sums)})
    curve = drawn(recipe, desk, folder, opponent=perfect)
    assert (curve.prompt_arm, curve.beats_from) == ("few-shot", {REFERENCE_COST: None})
    ear = Ear()
    fewer = Scores(better="lower", sums=dict(list(sums.items())[1:]))
    drawn(recipe, desk, folder, ear, opponent=Opponent("few-shot", {REFERENCE_COST: fewer}))
    assert any(f"1 of {len(sums)} conversations are not compared" in note for note in ear.notes)
    assert not trainings


def test_what_cannot_be_measured_is_refused(
    recipe: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(recipe, desk, [])
    elsewhere = Opponent("few-shot", {REFERENCE_COST: Scores(better="lower", sums={"elsewhere": (1.0, 1.0)})})
    with pytest.raises(DataError, match="on none of the"):
        learning_curve(planned, tmp_path, desk, Quiet(), SIZES, 1, elsewhere)
    with pytest.raises(DataError, match="900 transcripts cannot be taken"):
        learning_curve(planned, tmp_path, desk, Quiet(), [900], 1)
    with pytest.raises(DataError, match="0 draws are none"):
        learning_curve(planned, tmp_path, desk, Quiet(), SIZES, 0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DataError, match="2 processes cannot share"):
        learning_curve(planned, tmp_path, desk, Quiet(), SIZES, 1)
