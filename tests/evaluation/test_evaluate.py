"""The order of an evaluation's steps, what a run keeps, how it goes on; measures and engine are doubles here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bot.desk import Desk
from bot.errors import DataError, NotFound, RunError
from bot.evaluation.examples import examples
from bot.evaluation.items import Item
from bot.evaluation.options import Options
from bot.evaluation.replies import Failure, ReferenceCost, Reply
from bot.evaluation.results import Advice, ComparisonTable, Report
from bot.evaluation.rooms import exact
from bot.runs.folder import EVALUATION, Runs
from bot.types import Message


@dataclass(frozen=True)
class Asked:
    replies: tuple[Reply, ...]
    costs: tuple[ReferenceCost, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()


class Doubles:
    """Stand where the steps do. `stop` is the arm at which the disk is full."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stop = ""

    async def ask(self, arms: Any, items: Any, seeds: Any, rooms: Any, progress: Any) -> Asked:
        (arm,) = arms
        self.asked.append(arm.name)
        if arm.name == self.stop:
            raise OSError("No space left on device")
        if not arm.spec.adapters and arm.way == "soft-prompt":
            return Asked((), (), (Failure(arm.name, "there is no soft prompt"),))
        return Asked(tuple(Reply(arm.name, item.id, seed, "Yes.") for item in items for seed in seeds), (), ())

    async def nothing(self, *_: Any) -> tuple[()]:
        return ()


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doubles]:
    made = Doubles()

    async def no_hand_off(*_: Any) -> None:
        return None

    def write(report: Report, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "report.json").write_text(report.model_dump_json())

    modules: dict[str, dict[str, Any]] = {
        "asking": {"ask": made.ask, "Asked": Asked},
        "comparison": {"comparison_table": lambda *_: ComparisonTable(columns=(), rows=())},
        "costs": {"costs": lambda *_: []},
        "hand_off": {"hand_off_task": no_hand_off},
        "labels": {"label_tasks": made.nothing},
        "measures": {},
        "measures.measure_all": {
            "bare_arms": lambda arms: [], "further_items": lambda items: [], "general_items": list,
            "measure_all": made.nothing,
        },
        "prices": {"DEFAULT": Path(), "read_prices": lambda path: None},
        "report": {},
        "report.write": {"write_report": write},
        "statistics": {"compare": lambda measured, reference: []},
        "verdict": {"advise": lambda *_: Advice(arm="base", headline="Use the base.", reasons=())},
    }  # fmt: skip
    for name in ("evaluate", "kept"):
        monkeypatch.delitem(sys.modules, f"bot.evaluation.{name}", raising=False)
    for name, values in modules.items():
        module = ModuleType(f"bot.evaluation.{name}")
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    yield made
    for name in ("evaluate", "kept"):
        sys.modules.pop(f"bot.evaluation.{name}", None)


def evaluate(desk: Desk, resume: bool = False, **options: Any) -> tuple[Report, Path]:
    from bot.evaluation.evaluate import evaluate

    return evaluate(Options(**{"scenario": "returns", **options}), desk, resume=resume)


def test_a_report_lies_in_its_runs_folder(desk: Desk, doubles: Doubles) -> None:
    report, folder = evaluate(desk, seeds=3, arms=("base", "soft*"))
    (run,) = Runs(desk.settings.var, EVALUATION).all()
    assert (run.path, run.run.state, run.run.outcome) == (folder, "done", "Use the base.")
    assert Report.model_validate_json((folder / "report.json").read_text()) == report
    assert run.run.inputs == report.inputs
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
