"""The order of an evaluation's steps, what a run keeps, how it goes on; what arms say is made up here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.desk import Desk
from bot.errors import DataError, NotFound, RunError
from bot.evaluation import kept
from bot.evaluation.asking import Asked
from bot.evaluation.evaluate import evaluate as run_evaluation
from bot.evaluation.examples import examples
from bot.evaluation.items import Item
from bot.evaluation.options import Options
from bot.evaluation.replies import Failure, ReferenceCost, Reply
from bot.evaluation.results import Report
from bot.evaluation.rooms import exact
from bot.runs.folder import EVALUATION, Runs
from bot.types import Message


class Doubles:
    """Stand where the arms are asked. `stop` is the arm at which the disk is full."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stop = ""

    async def ask(self, arms: Any, items: Any, seeds: Any, rooms: Any, progress: Any) -> Asked:
        (arm,) = arms
        self.asked.append(arm.name)
        if self.stop and arm.name == self.stop:
            raise OSError("No space left on device")
        if not arm.spec.adapters and arm.way == "soft-prompt":
            return Asked((), (), (Failure(arm.name, "there is no soft prompt"),))
        replies = tuple(Reply(arm.name, item.id, seed, "Yes.") for item in items for seed in seeds)
        return Asked(replies, tuple(ReferenceCost(arm.name, item.id, 6.0, 3) for item in items if item.reference), ())


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> Doubles:
    made = Doubles()
    monkeypatch.setattr(kept, "ask", made.ask)
    return made


def evaluate(desk: Desk, resume: bool = False, **options: Any) -> tuple[Report, Path]:
    return run_evaluation(Options(**{"scenario": "returns", **options}), desk, resume=resume)


def test_a_report_lies_in_its_runs_folder(desk: Desk, doubles: Doubles) -> None:
    report, folder = evaluate(desk, seeds=3, arms=("base", "soft*"))
    (run,) = Runs(desk.settings.var, EVALUATION).all()
    assert (run.path, run.run.state, run.run.outcome) == (folder, "done", report.advice.headline)
    assert report.advice.arm == "base"
    assert Report.model_validate_json((folder / "report.json").read_text()) == report
    assert run.run.inputs == report.inputs
    assert doubles.asked.count("soft-prompt") == 1, "what cannot answer is not asked further"
    failed = [arm.name for arm in report.arms if arm.failure]
    assert failed == ["soft-prompt", "soft-prompt+knowledge"]
    assert not {figure.arm for measure in report.measures for figure in measure.figures} & set(failed)
    assert [(arm.name, bool(arm.failure)) for arm in report.arms] == [
        ("base", False), ("soft-prompt", True), ("soft-prompt+knowledge", True),
    ]  # fmt: skip
    assert report.command == "bot evaluate --scenario returns --arms base --arms 'soft*' --seeds 3"
    assert not run.checkpoints.exists()
    assert len(report.examples) == 20


def test_a_run_that_is_stopped_asks_no_arm_twice(desk: Desk, doubles: Doubles) -> None:
    doubles.stop = "adapter"
    with pytest.raises(OSError, match="No space"):
        evaluate(desk, arms=("base", "zero-shot", "adapter"))
    (run,) = Runs(desk.settings.var, EVALUATION).all()
    assert run.run.state == "interrupted"
    before = list(doubles.asked)
    doubles.stop, doubles.asked = "", []
    report, folder = evaluate(desk, resume=True)
    assert (before[:2], doubles.asked[0]) == (["base", "zero-shot"], "adapter")
    assert folder == run.path
    assert [arm.name for arm in report.arms] == ["base", "zero-shot", "adapter"]
    with pytest.raises(NotFound, match="without --resume"):
        evaluate(desk, resume=True)


def test_a_run_goes_on_only_with_what_it_began_with(desk: Desk, doubles: Doubles, domain: Path) -> None:
    doubles.stop = "adapter"
    with pytest.raises(OSError, match="No space"):
        evaluate(desk, arms=("base", "adapter"))
    transcripts = domain / "transcripts" / "returns.jsonl"
    transcripts.write_text(transcripts.read_text() + "\n")
    with pytest.raises(RunError, match=r"since it began, returns\.jsonl changed"):
        evaluate(desk, resume=True)


def test_what_cannot_be_used_leaves_a_failed_run_and_an_unknown_scenario_none(desk: Desk, doubles: Doubles) -> None:
    with pytest.raises(NotFound):
        evaluate(desk, scenario="../returns")
    assert Runs(desk.settings.var, EVALUATION).all() == []
    with pytest.raises(DataError, match="No arm is called"):
        evaluate(desk, arms=("nobody",))
    assert [folder.run.state for folder in Runs(desk.settings.var, EVALUATION).all()] == ["failed"]
    assert exact(desk.settings).dtype == "float32"


def test_examples_are_those_that_differ_most_and_spread_over_conversations() -> None:
    items = [Item(f"c{n // 2}/{n}", f"c{n // 2}", (Message("user", "Hello?"),), "Hello.") for n in range(8)]
    texts = {"a": "one two three", "b": "one two three"}
    replies = [Reply(arm, item.id, seed, text) for item in items for arm, text in texts.items() for seed in (0, 1)]
    unlike = [Reply("c", item.id, 0, "four five" if item.id in ("c3/7", "c3/6") else "one two three") for item in items]
    shown = examples(items, [*replies, *unlike], 0, 5)
    assert [example.item for example in shown] == ["c3/6", "c0/0", "c1/2", "c2/4", "c3/7"]
    assert [reply.arm for reply in shown[0].replies] == ["a", "b", "c"]
    assert examples(items, [*unlike, *replies], 0, 5)[0].item == "c3/6"
