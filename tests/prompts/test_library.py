"""Versions on disk: immutable, one winner a number, labels that are checked."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bot.desk import Desk
from bot.errors import Conflict, NotFound, PromptError
from bot.prompts.scenarios import get_scenario, scenario_names
from bot.prompts.schema import Example, Prompt, Variable
from bot.refs import BadName


@pytest.fixture
def prompt(desk: Desk) -> Prompt:
    return desk.prompts.get("support@1").prompt


def changed(prompt: Prompt, role: str) -> Prompt:
    return prompt.model_copy(update={"role": role})


def test_a_bare_name_is_production(desk: Desk, prompt: Prompt) -> None:
    desk.prompts.save("support", changed(prompt, "Two"), parent=1)
    assert desk.prompts.get("support").ref == "support@1"
    assert desk.prompts.get("support@2").prompt.role == "Two"


@pytest.mark.parametrize(
    ("ref", "listed"),
    [("suport", "support"), ("support@9", "support@1"), ("support@staging", "support@production"), ("scenarios", "support")],
)
def test_unknown_refs_list_what_exists(desk: Desk, ref: str, listed: str) -> None:
    with pytest.raises(NotFound, match=listed):
        desk.prompts.get(ref)


@pytest.mark.parametrize("ref", ["../secrets", "a/b", "A", "", "a@../x", "x" * 100, "a@", "é"])
def test_names_never_become_paths(desk: Desk, ref: str) -> None:
    with pytest.raises((BadName, NotFound)):
        desk.prompts.get(ref)


def test_identical_content_is_not_a_new_version(desk: Desk, prompt: Prompt) -> None:
    again = prompt.model_copy(update={"note": "Only the note differs."})
    assert desk.prompts.save("support", again, parent=1).ref == "support@1"
    assert desk.prompts.versions("support") == [1]


MANY = {f"name{number}": Variable(description="d", default="x") for number in range(240)}


def test_a_version_is_written_as_short_as_people_write_it(desk: Desk, prompt: Prompt) -> None:
    saved = desk.prompts.save("support", prompt.model_copy(update={"variables": MANY, "role": "Two"}), parent=1)
    assert desk.prompts.get(saved.ref).prompt == saved.prompt
    assert "required" not in (desk.prompts.root / "support" / "v2.yaml").read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"variables": {name: v.model_copy(update={"required": True}) for name, v in MANY.items()}}, "too many values"),
        ({"examples": [Example(customer="a\n" * 9_000, agent="a\n" * 9_000, source="s")] * 2}, "at most"),
        ({"author": "a" * 300}, "author"),
        ({"note": "n" * 2_001}, "note"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(desk: Desk, prompt: Prompt, change: dict[str, Any], told: str) -> None:
    with pytest.raises(PromptError, match=told):
        desk.prompts.save("support", prompt.model_copy(update=change), parent=1)
    assert desk.prompts.versions("support") == [1]


def test_saving_from_an_older_version_conflicts(desk: Desk, prompt: Prompt) -> None:
    desk.prompts.save("support", changed(prompt, "Two"), parent=1)
    with pytest.raises(Conflict, match="support@2"):
        desk.prompts.save("support", changed(prompt, "Other two"), parent=1)
    assert desk.prompts.get("support@2").prompt.role == "Two"


def test_a_file_in_place_of_a_prompts_folder_is_told_as_such(desk: Desk, prompt: Prompt) -> None:
    (desk.prompts.root / "newcomer").write_text("")
    with pytest.raises(PromptError, match="newcomer is a file"):
        desk.prompts.save("newcomer", prompt, parent=0)


def test_of_many_writers_exactly_one_wins_a_number(desk: Desk, prompt: Prompt) -> None:
    def save(number: int) -> bool:
        try:
            desk.prompts.save("support", changed(prompt, f"Writer {number}"), parent=1)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        wins = list(pool.map(save, range(24)))
    assert sum(wins) == 1
    assert desk.prompts.get("support@2").prompt.role == f"Writer {wins.index(True)}"
    assert sorted(p.name for p in (desk.prompts.root / "support").iterdir()) == ["v1.yaml", "v2.yaml"]


def test_a_changed_file_behind_a_label_is_refused(desk: Desk) -> None:
    desk.prompts.get("support@production")
    path = desk.prompts.root / "support" / "v1.yaml"
    path.write_text(path.read_text().replace("You are", "You were"))
    with pytest.raises(PromptError, match="content changed"):
        desk.prompts.get("support@production")


def test_scenarios_are_read_and_listed(workspace: Path) -> None:
    root = workspace / "prompts"
    assert [get_scenario(root, name).title for name in scenario_names(root)] == ["A first question"]
    with pytest.raises(NotFound, match="first-question"):
        get_scenario(root, "other")


def failing(code: int) -> Callable[[Path], None]:
    def sync(path: Path) -> None:
        raise OSError(code, os.strerror(code))

    return sync


def test_what_an_error_left_behind_is_found_by_the_next_attempt(
    desk: Desk, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("bot.files.sync", failing(errno.EIO))
        with pytest.raises(PromptError, match="support@2 is there, but the disk failed") as caught:
            desk.prompts.save("support", changed(prompt, "Two"), parent=1)
    assert "Save again" in str(caught.value)
    assert desk.prompts.save("support", changed(prompt, "Two"), parent=1).ref == "support@2"
    assert desk.prompts.versions("support") == [1, 2]
    with pytest.raises(Conflict):
        desk.prompts.save("support", prompt, parent=1)


def test_a_first_version_is_durable_with_its_folder(desk: Desk, prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr("bot.files.sync", synced.append)
        desk.prompts.save("newcomer", prompt, parent=0)
    assert synced == [desk.prompts.root, desk.prompts.root / "newcomer"]
    with monkeypatch.context() as patch:
        patch.setattr("bot.files.sync", failing(errno.ENOSPC))
        with pytest.raises(PromptError):
            desk.prompts.save("another", prompt, parent=0)
    assert not (desk.prompts.root / "another").exists()


def test_what_killed_writers_left_is_swept(desk: Desk, prompt: Prompt) -> None:
    old, young = (desk.prompts.root / "support" / f".v2.yaml.{name}.part" for name in ("old", "young"))
    for left in (old, young):
        left.write_text("half a ver")
    os.utime(old, (0, 0))
    desk.prompts.save("support", changed(prompt, "Two"), parent=1)
    assert [path.name for path in desk.prompts.folder("support").glob(".*")] == [young.name]
