"""Runs in processes of their own: begun, cancelled and gone on with from a server, one at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bot.base import Base
from bot.desk import Desk
from bot.errors import Conflict, DataError, NotFound, RunError
from bot.runs.folder import EVALUATION, TRAINING, RunFolder, Runs
from bot.runs.workshop import OUTPUT, POLITE, Workshop
from bot.settings import load
from bot.training.workshop import Recipes, split_overrides

PATIENCE = 60
# Without passages no embedder has to be loaded.
PLAIN = "knowledge="


def wait(for_what: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := for_what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


@pytest.fixture
def workshop(recipe: Path, tiny_base: Base) -> Iterator[Workshop]:
    made = Workshop(load(workspace=recipe.parents[2], base=str(tiny_base.path), dtype="float32"))
    yield made
    for folder in made.runs(TRAINING):
        if folder.run.state == "running":
            made.cancel(TRAINING, folder.run.id)
    wait(lambda: made.is_idle)


@pytest.fixture
def recipes(recipe: Path) -> Recipes:
    return Recipes(recipe.parents[2])


def ended(workshop: Workshop, id: str) -> RunFolder:
    """That run, once no process works on it."""
    wait(lambda: workshop.is_idle)
    return next(folder for folder in workshop.runs(TRAINING) if folder.run.id == id)


def test_a_run_is_started_cancelled_gone_on_with_and_offered(
    workshop: Workshop, recipes: Recipes, recipe: Path, desk: Desk
) -> None:
    assert recipes.names() == ["returns"]
    assert recipes.text("returns") == recipe.read_text()
    overrides = ["epochs=20", "patience=20", PLAIN]
    recipes.start(workshop, "returns", overrides)
    folder = wait(workshop.arrived)
    id, pid = folder.run.id, folder.run.pid
    assert (folder.run.state, folder.run.options) == ("running", tuple(overrides))
    assert os.getpriority(os.PRIO_PROCESS, pid) >= POLITE
    assert os.getsid(pid) == pid, "Ctrl-C at the server does not reach it"
    for another in (workshop, desk.workshop):
        with pytest.raises(Conflict, match=id):
            recipes.start(another, "returns")
        with pytest.raises(Conflict, match=id):
            another.start(EVALUATION, "returns")
    wait(lambda: len(workshop.watch(TRAINING, [folder])[0].held_out) > 1)
    workshop.cancel(TRAINING, id)
    cancelled = ended(workshop, id)
    assert (cancelled.run.state, cancelled.run.outcome) == ("cancelled", "")
    assert desk.adapters.refs() == []
    before = workshop.watch(TRAINING, [cancelled])[0].trained
    workshop.resume(TRAINING, id)
    again = wait(workshop.arrived)
    assert (again.run.id, again.run.state) == (id, "running")
    assert again.run.pid != pid
    done = ended(workshop, id)
    assert (done.run.state, done.run.outcome) == ("done", "returns@1"), done.run.message
    assert desk.adapters.get("returns").ref == "returns@1"
    assert "returns@1" in (done.path / OUTPUT).read_text()
    (seen,) = workshop.watch(TRAINING, [done])
    assert before
    assert before.done < len(seen.loss) == before.total
    for act in (workshop.cancel, workshop.resume):
        with pytest.raises(RunError, match="done"):
            act(TRAINING, id)


def test_what_dies_before_it_has_begun_says_why_and_leaves_no_process(workshop: Workshop, recipes: Recipes) -> None:
    recipes.start(workshop, "returns", ["prompt=suport@1"])
    assert workshop._process
    pid = workshop._process.pid
    wait(lambda: not psutil.pid_exists(pid))
    with pytest.raises(RunError, match="There is no prompt 'suport'"):
        workshop.arrived()
    assert workshop.runs(TRAINING) == []


def test_what_cannot_be_begun_is_refused_at_once(workshop: Workshop, recipes: Recipes, recipe: Path) -> None:
    assert workshop.arrived() is None
    for name, overrides, error, says in (
        ("return", [], NotFound, "returns"),
        ("../returns", [], NotFound, "returns"),
        ("returns", ["epoch=2"], DataError, "epoch"),
        ("returns", ["--resume"], DataError, "no override"),
    ):
        with pytest.raises(error, match=says):
            recipes.start(workshop, name, overrides)
    recipe.write_text("rank: [")
    with pytest.raises(DataError, match="not valid YAML"):
        recipes.start(workshop, "returns")
    for act in (workshop.cancel, workshop.resume):
        with pytest.raises(NotFound, match="returns-1"):
            act(TRAINING, "returns-1")


def test_only_the_newest_unfinished_run_of_a_recipe_can_go_on(workshop: Workshop, recipe: Path) -> None:
    place = str(recipe.relative_to(recipe.parents[2]))
    runs = Runs(recipe.parents[2] / "var", TRAINING)
    made = [runs.start("returns", place, (), 2**22 + 1) for _ in range(2)]
    newest, oldest = workshop.runs(TRAINING)
    assert {newest.run.id, oldest.run.id} == {folder.run.id for folder in made}
    assert newest.run.state == oldest.run.state == "interrupted"
    assert (workshop.is_resumable(TRAINING, newest), workshop.is_resumable(TRAINING, oldest)) == (True, False)
    with pytest.raises(RunError, match="newest unfinished"):
        workshop.resume(TRAINING, oldest.run.id)
    with pytest.raises(RunError, match="interrupted"):
        workshop.cancel(TRAINING, newest.run.id)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("", []),
        ("  epochs=2   rank=16 ", ["epochs=2", "rank=16"]),
        ("targets='[q_proj, v_proj]'", ["targets=[q_proj, v_proj]"]),
        ('targets="[q_proj, v_proj]" epochs=1', ["targets=[q_proj, v_proj]", "epochs=1"]),
    ],
)
def test_overrides_in_one_line(line: str, parts: list[str]) -> None:
    assert split_overrides(line) == parts


@pytest.mark.parametrize("line", ["epochs='2", "x" * 1001])
def test_a_line_that_is_no_overrides_is_refused(line: str) -> None:
    with pytest.raises(DataError):
        split_overrides(line)
